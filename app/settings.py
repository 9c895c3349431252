"""Every setting of the service, read once from ``MIXWRIGHT_*`` variables and passed in from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from limits import parse
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import RefusedToStart
from app.loopback import is_loopback
from app.origins import origin_of

ENV_PREFIX = "MIXWRIGHT_"
DATABASE_FILE = "mixwright.sqlite3"


class Settings(BaseSettings):
    """One class for the API, its workers and the command line.

    The embedded default keeps everything in ``data_dir`` and is bound to the loopback. ``database_url`` names a
    PostgreSQL database instead. ``api_key`` is an admin key beside those in the database.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", frozen=True)

    data_dir: Path = Path(".mixwright")
    database_url: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8321, ge=0, le=65535)
    api_key: SecretStr | None = None
    # A list in the environment is comma-separated, not JSON.
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    # Reverse proxies whose word on the client's address and on https is believed.
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    rate_limit: str = Field(default="600/second", description="calls of one key")
    failed_login_limit: str = Field(default="20/minute", description="wrong keys, or tries to log in, of one address")
    max_body_bytes: int = Field(default=64 * 2**20, ge=1024)
    max_import_bytes: int = Field(default=512 * 2**20, ge=1024, description="files of one import, also unpacked")
    # Trackers that imports may ask, as origins; a bare host means https. Their credentials come from the variables that
    # the trackers' own tools read.
    import_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    mlflow_tracking_token: SecretStr | None = Field(default=None, validation_alias="mlflow_tracking_token")
    wandb_api_key: SecretStr | None = Field(default=None, validation_alias="wandb_api_key")

    workers: int = Field(default=1, ge=0, le=64, description="job processes that compute fits and recommendations")
    run_max_attempts: int = Field(default=5, ge=1, le=100)
    job_max_attempts: int = Field(default=3, ge=1, le=100)
    job_lease_seconds: float = Field(default=15, gt=0, le=3600)
    job_poll_seconds: float = Field(default=0.5, gt=0, le=60)
    events_keep_days: float = Field(default=400, gt=0, le=36_500, description="how long the audit reaches back")
    sweep_seconds: float = Field(default=5, gt=0, le=600, description="how often expired leases are looked for")

    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("allowed_hosts", "trusted_proxies", "import_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("import_hosts", mode="after")
    @classmethod
    def _known_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            origin_of(each)
        return value

    @field_validator("api_key", mode="after")
    @classmethod
    def _empty_key_is_no_key(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None or not value.get_secret_value().strip() else value

    @field_validator("rate_limit", "failed_login_limit", mode="after")
    @classmethod
    def _known_limit(cls, value: str) -> str:
        try:
            amount = parse(value).amount
        except ValueError:
            amount = 0
        if amount < 1:
            raise ValueError("it must be a number and a time, as in 600/second or 20/minute")
        return value

    @field_validator("database_url", mode="after")
    @classmethod
    def _known_database(cls, value: str | None) -> str | None:
        """PostgreSQL through psycopg, or SQLite; a bare ``postgres://`` URL gets the driver that is installed."""
        if not value:
            return None
        scheme, separator, rest = value.partition("://")
        if separator and scheme in ("postgres", "postgresql", "postgresql+psycopg"):
            return f"postgresql+psycopg://{rest}"
        if separator and scheme == "sqlite":
            return value
        raise ValueError("it must start with postgresql:// or sqlite:///")

    @property
    def resolved_database_url(self) -> str:
        """The URL of the database: the given one, or the SQLite file in the data folder."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / DATABASE_FILE}"

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)

    @property
    def local_url(self) -> str:
        """Where a program on this machine finds the service."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def read_settings(**given: object) -> Settings:
    """Settings from the environment, overridden by what was given and is not None.

    Raises:
        RefusedToStart: naming the variable that is wrong and why.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as exc:
        wrong = exc.errors(include_url=False, include_input=False)[0]
        name = str(wrong["loc"][0]) if wrong["loc"] else "setting"
        reason = wrong["msg"].removeprefix("Value error, ")
        reason = reason[:1].lower() + reason[1:]
        raise RefusedToStart(f"the setting {name} ({ENV_PREFIX}{name.upper()}) is wrong: {reason}") from exc
