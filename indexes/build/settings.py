"""How an index is built, and what a build says of itself."""

from dataclasses import dataclass, field

from indexes.build.budget import Wish
from indexes.sources import Reading
from toolkit.errors import UsageError
from toolkit.records import Quarantined


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """How to build. Raises UsageError for a value that makes no sense, naming it.

    overwrite: remove what is in the index, whatever model made it; reading: how sources are
    cut into patches; wish: what the index may take, None for what was said before; batch:
    pictures embedded at once; commit_vectors, commit_s: new vectors and seconds after which
    the change is made visible, which bounds what a kill can lose; wait_s: for another
    writer; device: where FAISS trains and fills, "cpu" or "cuda".
    """

    overwrite: bool = False
    reading: Reading = field(default_factory=Reading)
    wish: Wish | None = None
    batch: int = 64
    commit_vectors: int = 50_000
    commit_s: float = 60.0
    wait_s: float = 0.0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("batch", "commit_vectors"):
            if getattr(self, name) < 1:
                raise UsageError(f"The setting {name} is {getattr(self, name)}; 1 is the least.")
        if not self.commit_s > 0:
            raise UsageError(f"The setting commit_s is {self.commit_s}; it must be over 0.")
        if not 0 <= self.wait_s < float("inf"):
            raise UsageError(f"The setting wait_s is {self.wait_s}; it must be 0 or more.")


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """What is being done.

    Reading: the source, `done` of `total` sources before it, vectors so far, and the share of
    all that is to be read, by bytes; it comes before each source, and within one as it goes.
    The other phases, merging, training, adding and measuring, come after: source is empty,
    done and total count vectors.
    """

    source: str
    done: int
    total: int
    vectors: int
    phase: str = "reading"
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did: sources added and skipped (their content is there), new vectors.

    notes: what was taken for granted, for people.
    """

    index: str
    added: int
    skipped: int
    vectors: int
    quarantined: tuple[Quarantined, ...]
    seconds: float
    notes: tuple[str, ...] = ()
