"""What a job's request may say, and what it is checked for before anything is made of it."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

LAST_SEED = 2**64 - 1
PICTURE = 24 << 20  # letters of base64, at most

Word: TypeAlias = Annotated[str, StringConstraints(max_length=200)]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]
Label: TypeAlias = Annotated[int, Field(ge=0, le=1 << 31)] | Word
Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False, ge=-1000, le=1000)]
Whole: TypeAlias = Annotated[int, Field(ge=-64, le=64, strict=True)]  # orders, repeats: rows grow with them
Seed: TypeAlias = Annotated[int, Field(ge=0, le=LAST_SEED)]
Guidance: TypeAlias = (
    Annotated[float, Field(allow_inf_nan=False, ge=-100, le=100)]
    | Annotated[str, StringConstraints(max_length=200, pattern=r"^[A-Za-z0-9_ =.,+\-\[\]]*$")]
)
Text: TypeAlias = Annotated[str, StringConstraints(max_length=4000)]
Condition: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_ -]{1,64}$")]
Value: TypeAlias = Annotated[float, Field(allow_inf_nan=False)] | Word
Format: TypeAlias = Literal["png", "npy", "zip"]


class JobRequest(BaseModel):
    """One job: samples that are drawn alike. What is silent is as the model's recipe has it."""

    model_config = ConfigDict(extra="forbid")

    model: Name | None = Field(None, description="A name of GET /v1/models; the first if silent.")
    samples: int | None = Field(None, ge=1, le=4096, description="How many; as many as there are seeds, or 1.")
    seeds: list[Seed] | None = Field(None, min_length=1, max_length=4096, description="One a sample; else random.")
    sampler: Name | None = Field(None, description="A sampler's name, such as dpmpp_2m.")
    steps: int | None = Field(None, ge=1, le=100_000, description="Intervals from noise to data.")
    grid: Name | None = Field(None, description="Where the steps fall: karras, logsnr, time ...")
    options: dict[Name, bool | Whole | Number | Name] = Field(
        default_factory=dict, max_length=16, description="The sampler's own, such as eta."
    )
    guidance: Guidance | None = Field(None, description="A weight, 1: none; or guides, 'apg weight=4 + dynamic'.")
    label: Label | list[Label] | None = Field(None, description="One for all samples, or one each, by name or number.")
    text: Text | list[Text] | None = Field(None, description="A prompt for all samples, or one each.")
    tell: dict[Condition, Value | list[Value | None]] = Field(
        default_factory=dict,
        max_length=16,
        description="Of each other condition by its name: a number, a word, or several.",
    )
    size: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}x[0-9]{1,4}$")] | None = Field(
        None, description="HEIGHTxWIDTH, of models that draw any size."
    )
    image: str | None = Field(None, max_length=PICTURE, description="A picture in base64 to begin with.")
    strength: float | None = Field(
        None, gt=0, le=1, description="The share of the steps that is walked from the picture; 1: from noise alone."
    )
    mask: str | None = Field(
        None, max_length=PICTURE, description="In base64, of the picture's size: white (or clear) is drawn anew."
    )
    format: Format = Field("png", description="What GET /v1/jobs/ID/result gives if it is not told.")
    deadline: float | None = Field(None, gt=0, le=86400, description="Seconds from now, after which it is given up.")


__all__ = ["LAST_SEED", "Format", "Guidance", "JobRequest", "Label"]
