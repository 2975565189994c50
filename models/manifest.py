"""Manifest: what a release folder says of itself, in manifest.json. All that scoring needs and a person must know.

The JSON Schema beside this file (manifest.schema.json) is generated from these classes by ``write_schema``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import BrokenModel

SCHEMA_PATH = Path(__file__).with_name("manifest.schema.json")
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Code(_Part):
    """A coded concept: system is a URI (SNOMED CT http://snomed.info/sct, LOINC http://loinc.org, DICOM …/DCM)."""

    system: str
    code: str
    display: str


class Range(_Part):
    """A closed interval; None is open."""

    low: float | None = None
    high: float | None = None

    def holds(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


class Accepts(_Part):
    """What may be sent; an empty list accepts anything. A header that contradicts is refused, an absent one flagged."""

    modalities: list[str] = []
    body_parts: list[str] = []
    views: list[str] = []
    age_years: Range = Range()
    min_rows: int = 0
    min_columns: int = 0
    slices: Range = Range(low=1, high=1)
    spacing_mm: Range = Range()  # every axis, when the source states a spacing
    extent_mm: Range = Range()  # every axis of a volume: field of view


class Step(_Part):
    """A function of models.steps.STEPS and its parameters."""

    name: str
    params: dict[str, Any] = {}


class Feature(_Part):
    """One column of a risk model: a function of models.features.FEATURES on one code of the record."""

    name: str
    function: str
    params: dict[str, Any] = {}
    label: str
    label_fr: str
    unit: str  # UCUM
    code: Code | None = None
    plausible: Range = Range()  # outside: the value is impossible and is not used, and a flag says so
    usual: Range = Range()  # outside: used, and flagged as implausible
    reference: Range = Range()  # the usual adult range, for low / normal / high
    meanings: dict[str, tuple[str, str]] = {}  # of a value that stands for a word: f"{value:g}" → English, French


class Term(_Part):
    """One additive part of a risk model: a single feature, or a pair. ``output``: which output it is a part of."""

    name: str
    features: list[str] = Field(min_length=1, max_length=2)
    output: str = ""  # name of the output; empty: the first


class Window(_Part):
    """How a graph of one fixed size goes over a volume of any size, and how its blended class scores become labels.

    Lists are z, y, x. The windows, their weights and the blending are those of MONAI's SlidingWindowInferer. Channel 0 of
    the scores is the background; a graph with one channel (``scores="sigmoid"``) has label 1 alone.
    """

    roi: tuple[int, int, int]  # voxels of one window
    overlap: tuple[float, float, float]  # share of a window that the next one covers again
    mode: Literal["gaussian", "constant"]  # weight of a voxel within its window
    sigma_scale: float = Field(default=0.125, gt=0)  # standard deviation of the gaussian weight, as a share of the window
    pad_value: float = 0.0  # around a volume smaller than a window
    batch: int = Field(default=1, ge=1)  # windows that are run at once
    scores: Literal["softmax", "sigmoid", "none"] = "softmax"  # what makes shares of the blended class scores
    threshold: float | None = None  # of the one channel; None: the class with the largest share
    back: Literal["shares", "labels"] = "shares"  # what goes back to the source's grid: shares linearly, labels by nearest
    largest_part: list[int] = []  # labels of which only the largest connected part is kept
    connectivity: Literal[1, 2, 3] = 3  # neighbours across faces, edges or corners, for that part


class Graph(_Part):
    """Names and shapes of the ONNX graph. Axis 0 is the batch."""

    input: str
    input_shape: list[int | str]
    # role → output name: probability, logit, raw_logit, map, ood, labels, volume_ml, contributions, quantity, interval;
    # class_scores where a window goes over the volume
    outputs: dict[str, str]
    opset: int
    window: Window | None = None  # volume_segmentation: the graph takes one window; None: it takes the whole volume


Band = Literal["low", "moderate", "high"]
BANDS: tuple[Band, ...] = ("low", "moderate", "high")


class Output(_Part):
    """One figure for a person. ``index`` is its column in the graph's probability, volume or quantity output.

    A *quantity* is the exponential of its score (``explains.link = "log"``), with the interval it lies in with
    probability ``interval_level``.
    """

    name: str
    label: str
    label_fr: str
    code: Code
    kind: Literal["probability", "volume", "quantity"]
    unit: str
    index: int
    threshold: float | None = None
    threshold_reason: str = ""
    clear_threshold: float | None = None  # a raised alert ends only below this; None: 0.8 of the threshold
    bands: dict[Band, float] = {}  # lower limits of the words for a risk
    interval_level: float | None = None  # of a quantity: how often the interval holds the truth, as calibrated
    horizon_h: float | None = None  # the outcome is looked for so many hours after the moment; None: see the label
    map_index: int | None = None  # channel of the map output that explains it
    shown_only_if: str | None = None  # name of the output that must be above its threshold first
    calibration: dict[str, float] = {}  # slope and intercept put on the raw logit, inside the graph
    calibrated: bool = True  # false: taken over from elsewhere, its probabilities were never compared with what happened

    def risk(self, value: float) -> Literal["negligible"] | Band | None:
        """Return the word for a probability; None where the release states no bands."""
        if not self.bands:
            return None
        reached: Literal["negligible"] | Band = "negligible"
        for word in BANDS:
            limit = self.bands.get(word)
            if limit is not None and value >= limit:
                reached = word
        return reached


class OutOfDistribution(_Part):
    """One column of the graph's ``ood`` output and the limit above which the model declines."""

    name: str
    limit: float
    meaning: str


class Refuses(_Part):
    """When the model declines. Pixel limits hold for the input image after the steps, 0-255."""

    ood: list[OutOfDistribution] = []
    min_spread: float = 0.0  # standard deviation of the prepared input below this: blank
    max_clipped_share: float = 1.0  # share of source pixels at either end of the range above this: clipped
    min_measured: int = 0  # distinct core codes that must have a value
    core_codes: list[str] = []
    required: list[str] = []  # codes that must all be known, measured or static
    recent: dict[str, tuple[int, float]] = {}  # code → at least so many values in the last so many minutes
    newest_min: dict[str, float] = {}  # code → its latest value may be at most so many minutes old
    within: dict[str, Range] = {}  # code → its latest or static value must lie here: beyond, the model learnt from nobody
    impossible_values: bool = False  # a value outside its plausible range is refused, not left out


class Explains(_Part):
    """How a score is explained, and how exactly."""

    method: Literal["class_activation_map", "segmentation", "additive_contributions", "shares"]
    link: Literal["logit", "log"] = "logit"  # the scale on which additive contributions sum up
    baseline: str
    completeness_tolerance: float
    stride_px: float | None = None
    offset_px: tuple[float, float] | None = None
    offset_reason: str = ""
    upsampling: Literal["bicubic", ""] = ""
    bias: dict[str, float] = {}
    note: str
    note_fr: str
    known_limits: list[str] = []


class IntendedUse(_Part):
    """For whom, for what, and for what not."""

    purpose: str
    users: str
    population: str
    decision_role: str
    must_not: list[str] = Field(min_length=1)
    limits: list[str] = Field(min_length=1)
    regulatory: str = "Research and evaluation only. Not a medical device, not CE-marked."
    human_oversight: str


class TrainingData(_Part):
    """Where the model learnt, and what is wrong with that."""

    name: str
    description: str
    period: str
    licence: str
    citation: str
    counts: dict[str, int]
    split: str
    sha256: str
    cautions: list[str] = Field(min_length=1)


class Provenance(_Part):
    """How to make it again."""

    recipe_sha256: str
    seed: int
    git_commit: str
    versions: dict[str, str]
    machine: str
    created: str  # ISO date


class Precision(_Part):
    """A faster precision that passed its gate, with the figures of the gate on the validation split."""

    backend: str
    precision: Literal["bf16", "fp16", "int8"]
    max_probability_change: float
    flips: float
    same_peak: float
    inputs: int


class PredictionSet(_Part):
    """Limits of an output's prediction sets, one class at a time (models/statistics/conformal.py); None: too few cases."""

    alpha: float = Field(gt=0, lt=1)
    q0: float | None
    q1: float | None
    n0: int
    n1: int


Written = Literal["sr", "seg", "map", "capture"]
USUAL_OBJECTS: dict[str, tuple[Written, ...]] = {
    "image_classification": ("sr", "map", "capture"),
    "volume_segmentation": ("sr", "seg", "capture"),
    "risk": (),
    "department": (),
}


class Manifest(_Part):
    """manifest.json of one release."""

    schema_version: Literal["1"] = "1"
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    title: str
    title_fr: str
    task: Literal["image_classification", "volume_segmentation", "risk", "department"]
    summary: str
    licence: str
    contact: str
    accepts: Accepts = Accepts()
    steps: list[Step] = []
    features: list[Feature] = []
    terms: list[Term] = []
    moment: str = ""  # risk: when it is scored, in words
    moment_fr: str = ""
    moment_h: float | None = None  # risk: hours after the record's start that may be looked at; None: up to its latest event
    window_h: float | None = None  # risk: how far back it looks; None: to the start
    needs_encounter: bool = True  # risk: false for what is measured at home
    hooks: list[str] = []  # CDS Hooks at which it may speak, for example patient-view
    graph: Graph
    outputs: list[Output] = Field(min_length=1)
    refuses: Refuses = Refuses()
    explains: Explains
    precisions: list[Precision] = []
    prediction_sets: dict[str, PredictionSet] = {}  # by output; calibrated where the model learnt, so not the hospital's own
    writes: list[Written] | None = None  # DICOM objects a result is sent as; None: those usual for the task
    intended_use: IntendedUse
    training_data: TrainingData
    provenance: Provenance
    files: dict[str, _Sha256]  # every other file of the folder by name

    @property
    def id(self) -> str:
        """``name-version``, which is also the folder's name."""
        return f"{self.name}-{self.version}"

    @property
    def objects(self) -> tuple[Written, ...]:
        """The DICOM objects a result is sent as."""
        return USUAL_OBJECTS[self.task] if self.writes is None else tuple(self.writes)

    def output(self, name: str) -> Output:
        return next(o for o in self.outputs if o.name == name)


def sha256_of(path: Path) -> str:
    """Hash a file in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read and validate ``folder/manifest.json``. Raises BrokenModel naming the field that is wrong."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise BrokenModel(f"{folder.name}: a release needs manifest.json, found none.")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BrokenModel(f"{folder.name}: manifest.json is not valid at {place}: {first['msg']}.") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``folder/manifest.json``, readable and stable."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def write_schema(path: Path = SCHEMA_PATH) -> None:
    """Write the JSON Schema that other tools validate manifests with."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}
    path.write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
