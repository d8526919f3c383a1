"""A bundle as a model repository of the Triton inference server.

DIR/
└── vr_embedder/
    ├── config.pbtxt      what Triton serves; yours to edit but for one marked block
    ├── 1/
    │   ├── model.onnx
    │   └── model.json    the model card: preprocessing, fingerprint, precision
    └── 2/ ...
└── vr_embedder_trt/      the same of the bundle's TensorRT engines, where it has any
    ├── config.pbtxt
    └── 1/
        ├── model.plan    or model_sm80.plan, model_sm90.plan where there are several
        ├── engine.json   what the engines were built from and for
        └── model.json
"""

from deploy.triton.config import TritonSettings
from deploy.triton.repository import write_repository

__all__ = ["TritonSettings", "write_repository"]
