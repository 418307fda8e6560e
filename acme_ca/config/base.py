"""What all tables of the configuration file share."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """What all tables of the file share: a misspelled setting or a value of another type is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
