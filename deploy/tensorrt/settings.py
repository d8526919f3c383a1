"""What engines can be asked for."""

import re
from dataclasses import dataclass
from typing import Literal, Self

from toolkit.errors import UsageError

Target = Literal["tensorrt", "tensorrt_rtx"]

_EXAMPLE = "Give min/opt/max with 1 <= min <= opt <= max <= 4096, such as 1/32/128."
MAX_BATCH = 4096
MIN_WORKSPACE_BYTES = 1 << 20  # below a MiB hardly a layer finds an algorithm


@dataclass(frozen=True, slots=True)
class Profile:
    """The batches that an engine takes: from `min` to `max` pictures, fastest at `opt`."""

    min: int = 1
    opt: int = 32
    max: int = 128

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.opt <= self.max <= MAX_BATCH:
            raise UsageError(f"A batch profile of {self} cannot be built.", mend=_EXAMPLE)

    def __str__(self) -> str:
        return f"{self.min}/{self.opt}/{self.max}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `min/opt/max`, the inverse of str(). Raises UsageError."""
        if not re.fullmatch(r"\d{1,9}/\d{1,9}/\d{1,9}", text, re.ASCII):
            raise UsageError(f"{text!r} is no batch profile.", mend=_EXAMPLE)
        return cls(*map(int, text.split("/")))


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What to build: one engine a profile.

    profiles: None for one of 1/32/128, or of the one batch that a bundle of fixed batch
    takes. target: "tensorrt" builds for the GPU of this machine and needs it;
    "tensorrt_rtx" for every RTX GPU since Ampere, and needs none. workspace_bytes: scratch
    memory, None for no limit.

    One engine a profile, not one of several profiles: trtexec and Triton take the first
    profile of a plan unless they are told otherwise, and a profile that is a file can be
    built, kept and deleted by itself.
    """

    profiles: tuple[Profile, ...] | None = None
    target: Target = "tensorrt"
    workspace_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.workspace_bytes is not None and self.workspace_bytes < MIN_WORKSPACE_BYTES:
            raise UsageError(
                f"A workspace of {self.workspace_bytes} bytes is too small to build in.",
                mend="Give 1 MiB or more, or leave it out for no limit.",
            )

    def profiles_for(self, batch: int | None) -> tuple[Profile, ...]:
        """The profiles for a graph of that batch, None for any. Raises UsageError."""
        if batch is None:
            return (Profile(),) if self.profiles is None else tuple(dict.fromkeys(self.profiles))
        only = Profile(batch, batch, batch)
        for profile in self.profiles or ():
            if profile != only:
                raise UsageError(
                    f"The bundle takes {batch} pictures at a time; no engine of {profile} can be "
                    "built of it.",
                    mend=f"Leave the profile out, give {only}, or export without --batch.",
                )
        return () if self.profiles == () else (only,)
