"""What one may ask of InfluxDB. Only pydantic here: the client library takes more than a second to import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from adapters.base import Bench, Sink
from adapters.settings import Duration, SinkSettings

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class InfluxDbSink(SinkSettings):
    """A bucket (API v2, also InfluxDB 3 and 1.8) or a database of a 1.x server (API v1)."""

    model_config = ConfigDict(hide_input_in_errors=True)

    type: Literal["influxdb"]
    url: str = Field(description="Address of the server, such as http://localhost:8086")
    api: Literal["v2", "v1"] = Field(
        "v2", description="v2: org, bucket, token. v1: database, user name, password"
    )
    org: str = Field("", description="Organisation (v2)")
    bucket: str = Field("", description="Bucket (v2)")
    token: SecretStr | None = Field(None, description="API token (v2), best as ${env:NAME} or ${file:/path}")
    database: str = Field("", description="Database (v1)")
    username: str = ""
    password: SecretStr | None = None
    create: bool = Field(False, description="Make the bucket or database when it is missing")
    measurement: str = Field(
        "{type}",
        min_length=1,
        description="Name of the measurement; {type}, {machine} and {<tag>} stand for the machine's type, id and tags; "
        "what comes out empty is `machine`. A field has one data type per measurement",
    )
    batch_lines: int = Field(5000, ge=1, le=100_000, description="Lines per request")
    on_conflict: Literal["quarantine", "twin"] = Field(
        "quarantine",
        description="A value whose field has another data type in the database: kept in quarantine, or written to a field "
        "of its own type beside it (energy_float, energy_integer, …)",
    )
    canary: bool = Field(
        True,
        description="A line of measurement collector_canary in every request, read back to find values that vanish",
    )
    timeout: Duration = Field("30s", validate_default=True, description="Time for one request")
    ca: Path | None = Field(None, description="File with the certificates (PEM) that vouch for the server")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(
                "url is http:// or https:// with a host and a port, such as http://localhost:8086"
            )
        if parts.username or parts.password:
            raise ValueError("no user name or password in the url: use token, or username and password")
        return url.rstrip("/")

    @field_validator("token", "password")
    @classmethod
    def _can_be_sent(cls, secret: SecretStr | None) -> SecretStr | None:
        text = secret.get_secret_value() if secret is not None else "-"
        if not text or not text.isprintable():
            raise ValueError(
                "is empty or holds line breaks or control characters: look at where it comes from"
            )
        return secret

    @field_validator("timeout")
    @classmethod
    def _leaves_time_to_answer(cls, seconds: float) -> float:
        if not 0.1 <= seconds <= 600:
            raise ValueError("timeout is between 100ms and 10min")
        return seconds

    @model_validator(mode="after")
    def _one_api(self) -> InfluxDbSink:
        foreign = (
            self._named("database", "username", "password")
            if self.api == "v2"
            else self._named("org", "bucket", "token")
        )
        if foreign:
            raise ValueError(f"{' and '.join(foreign)} cannot go with api: {self.api}")
        if self.measurement in ("quality", "collector_canary"):
            raise ValueError(
                f"measurement: {self.measurement} is taken by what the collector writes of its own"
            )
        needed = "bucket" if self.api == "v2" else "database"
        if not getattr(self, needed):
            raise ValueError(f"{needed} is missing: api {self.api} writes into a {needed}")
        if (self.password is None) != (not self.username):
            raise ValueError("username and password go together")
        return self

    def _named(self, *names: str) -> list[str]:
        return [name for name in names if getattr(self, name)]

    @property
    def address(self) -> SplitResult:
        return urlsplit(self.url)

    def review(self) -> Sequence[str]:
        remarks = []
        secret = self.token is not None or self.password is not None
        if self.address.scheme == "http" and secret and self.address.hostname not in _LOOPBACK:
            remarks.append(f"{self.url} is not encrypted: the token or password can be read on the network")
        if self.api == "v2" and self.token is None:
            remarks.append("no token: only a server without authentication will take the values")
        return remarks

    def build(self, bench: Bench) -> Sink:
        from adapters.influxdb.session import InfluxDb

        return InfluxDb(self, bench)
