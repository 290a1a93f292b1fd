"""The environment as frozen values, every fault of it at once; `--help` is printed from the same fields.

The only reader of the environment. A variable can instead be a file of the same name in `SECRETS_DIR`;
the environment wins; an empty one is unset.
"""

import os
import re
import ssl
import textwrap
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core.core_schema import ValidationInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from hooks import redaction, strict_json
from hooks.expression import Expression

_LONGEST_URL = 2048


class MisconfiguredError(Exception):
    """The environment cannot be used; `faults` maps each variable to what is wrong, never to its value."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {fault}" for name, fault in faults.items()))
        self.faults = dict(faults)


@dataclass(frozen=True)
class BaseUrl:
    """An http(s) address to which paths are appended; `user_info` is secret."""

    scheme: str
    host: str
    port: int
    path: str
    user_info: str | None = field(default=None, repr=False)

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address: there is no name to look up."""
        try:
            return bool(ip_address(self.host))
        except ValueError:
            return False


def _base_url(text: str) -> BaseUrl:
    try:
        parts = urlsplit(text)
        default = {"http": 80, "https": 443}[parts.scheme]
        port = default if parts.port is None else parts.port
        host = (parts.hostname or "").encode("idna").decode()
        user_info = parts.netloc.rpartition("@")[0] or None
    except (ValueError, KeyError):
        raise ValueError("is not an http(s) address") from None
    if not host or not port or not _is_printed(text) or _is_no_ipv4(host):
        raise ValueError("is not an http(s) address")
    if parts.query or parts.fragment:
        raise ValueError("is a base address: it takes no query and no fragment")
    user_info = unquote(user_info) if user_info else None
    return BaseUrl(parts.scheme, host, port, _encoded(parts.path.rstrip("/")), user_info)


def _is_no_ipv4(host: str) -> bool:
    """Whether the host looks like an IPv4 address and is none."""
    if not re.fullmatch(r"[\d.]+", host, re.ASCII):
        return False
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def _is_printed(text: str) -> bool:
    return len(text) <= _LONGEST_URL and text.isprintable() and not any(map(str.isspace, text))


def _encoded(path: str) -> str:
    """Percent-encode what a request line cannot hold, and leave alone what is encoded already."""
    return quote(path, safe="/%?&=+,;:@!$'()*~-._")


def _base_urls(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    listed = [text.strip() for text in value.split(",") if text.strip()]
    if not listed:
        raise ValueError("is missing")
    return tuple(dict.fromkeys(map(_base_url, listed)))


def http_url(text: str) -> str:
    """Return a whole URL as a request line and a Host header can hold it; its query is the peer's own affair.

    Raises ValueError when it is not an http(s) address.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("is not an http(s) address") from None
    if not _is_printed(text):
        raise ValueError("is not an http(s) address")
    base = _base_url(parts._replace(query="", fragment="").geturl())
    host = f"[{base.host}]" if ":" in base.host else base.host
    user_info, at, _ = parts.netloc.rpartition("@")
    location = f"{_encoded(user_info)}{at}{host}" + (f":{base.port}" if parts.port else "")
    return parts._replace(netloc=location, path=_encoded(parts.path), query=_encoded(parts.query)).geturl()


def _secret_urls(value: SecretStr) -> SecretStr:
    return SecretStr(",".join(map(http_url, secret_urls(value))))


def secret_urls(value: SecretStr | None) -> list[str]:
    """Return the addresses of a secret, comma-separated list."""
    return [text.strip() for text in value.get_secret_value().split(",") if text.strip()] if value else []


def _path(text: str) -> str:
    if not text.startswith("/") or not _is_printed(text):
        raise ValueError("must begin with / and hold no white space")
    return _encoded(text)


def _header_value(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not (text.isascii() and text.isprintable()):
        raise ValueError("must be printable ASCII")
    return value


def _expression(value: Any) -> Any:
    return Expression(value).compiled() if isinstance(value, str) else value


def _body(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    body = _with_reason(value).compiled()
    try:
        strict_json.dump(body.only('"a reason"'))
    except ValueError as error:
        raise ValueError(f"builds no request: {error}") from None
    return body


def _with_reason(text: str) -> Expression:
    """Bind `$reason` to the input: the program is compiled before the reason is known."""
    # The line break ends a comment at the end of the expression.
    return Expression(f". as $reason | null | ({text}\n)")


def _method(text: str) -> str:
    if not (text.isascii() and text.isalpha()):
        raise ValueError("is not an HTTP method")
    return text.upper()


def _listen(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("is not HOST:PORT")
    return text


def _default_jq(text: str, *, description: str) -> Any:
    """Give a default: known to compile, so not compiled until it is used."""
    return Field(Expression(text), description=description, json_schema_extra={"written": text})


def _default_body(text: str, *, description: str) -> Any:
    return Field(_with_reason(text), description=description, json_schema_extra={"written": text})


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Url = Annotated[str, AfterValidator(http_url)]
PathOfUrl = Annotated[str, AfterValidator(_path)]
Jq = Annotated[Expression, BeforeValidator(_expression)]
JqBody = Annotated[Expression, BeforeValidator(_body)]


@dataclass(frozen=True)
class _Unreadable:
    """What stands in for a value that a secret file could not give."""

    fault: str


class _EnvironmentAndFiles(PydanticBaseSettingsSource):
    """The environment, and under it the files of `SECRETS_DIR`.

    pydantic's own sources let one unreadable file hide every other fault and take an empty file for a value.
    """

    def __init__(self, settings_cls: type[BaseSettings], ignoring: Collection[str]) -> None:
        super().__init__(settings_cls)
        self._ignoring = ignoring

    def __call__(self) -> dict[str, Any]:
        names = [name.upper() for name in self.settings_cls.model_fields]
        found = {name: _read(name) for name in names}
        _hide_secrets(found)
        found = {name: value for name, value in found.items() if name not in self._ignoring}
        return {name: value for name, value in found.items() if value is not None}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise AssertionError(f"unreachable: __call__ reads {field_name} ({field})")


def _hide_secrets(found: Mapping[str, str | _Unreadable | None]) -> None:
    """Hide what must never come out, before anything is said about it, valid or not."""
    told = {name: value for name, value in found.items() if isinstance(value, str)}
    redaction.hide(told.get("OMS_ADMIN_TOKEN"), told.get("PAGERDUTY_ROUTING_KEY"))
    for name in ("OMS_URL", "PAGERDUTY_EVENTS_URL", "ALERT_FALLBACK_URL"):
        for url in told.get(name, "").split(","):
            webhook = name == "ALERT_FALLBACK_URL" and told.get("ALERT_FALLBACK_FORMAT") != "alertmanager"
            redaction.hide_url(url.strip(), path=webhook)


def _read(name: str) -> str | _Unreadable | None:
    value = os.environ.get(name, "").strip()
    directory = os.environ.get("SECRETS_DIR", "").strip()
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return _Unreadable("is not UTF-8")
    if value or not directory or name == "SECRETS_DIR":
        return value or None
    try:
        return Path(directory, name).read_bytes().decode().strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        return _Unreadable("its file in SECRETS_DIR is not UTF-8")
    except OSError as error:
        return _Unreadable(f"its file in SECRETS_DIR cannot be read ({error.strerror})")


class Logging(BaseSettings):
    """What every command reads."""

    model_config = SettingsConfigDict(
        alias_generator=str.upper,
        arbitrary_types_allowed=True,
        # Only the class of the command that runs is ever built.
        defer_build=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="how log lines look; auto is console on a terminal"
    )
    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        "info", description="least level that is written; the verdict always is"
    )
    termination_log: Path = Field(
        Path("/dev/termination-log"),
        description="told the reason and the code if it exists, at most 4096 bytes",
    )
    secrets_dir: Path | None = Field(
        None,
        description="directory in which each variable can be a file of the same name; the environment wins",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # pydantic's own sources are not wanted
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        ignoring = init_settings().get("ignoring", ())
        return (_EnvironmentAndFiles(settings_cls, ignoring),)

    @field_validator("*", mode="before")
    @classmethod
    def _was_readable(cls, value: Any) -> Any:
        if isinstance(value, _Unreadable):
            raise ValueError(value.fault)  # noqa: TRY004  # pydantic turns only a ValueError into a fault
        return value

    @field_validator("secrets_dir")
    @classmethod
    def _is_a_directory(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError("is not a directory")
        return value


class Oms(Logging):
    """How every target is spoken to."""

    oms_url: Annotated[tuple[BaseUrl, ...], BeforeValidator(_base_urls)] = Field(
        description="base address of the OMS, http(s); several are comma-separated"
    )
    oms_every_pod: bool = Field(
        default=False,
        description="speak to every address that the host name resolves to (a headless Service)",
    )
    oms_min_targets: Count = Field(1, description="fewer addresses than this are \u201cnot yet\u201d")
    oms_admin_token: Annotated[SecretStr, AfterValidator(_header_value)] | None = Field(
        None, description="bearer token of the OMS; printable ASCII; secret"
    )
    oms_ca_file: Path | None = Field(None, description="private certificate authority of the OMS, PEM")
    oms_client_cert_file: Path | None = Field(None, description="client certificate shown to the OMS, PEM")
    oms_client_key_file: Path | None = Field(
        None, description="key of the client certificate, PEM, unencrypted"
    )
    oms_mode_path: PathOfUrl = Field("/health/mode", description="where GET tells the mode document")
    oms_health_path: PathOfUrl = Field("/health/deep", description="where GET tells the health document")
    oms_switch_path: PathOfUrl = Field("/admin/mode", description="where a switch is sent")
    oms_switch_method: Annotated[str, AfterValidator(_method)] = Field(
        "POST", description="method of a switch"
    )
    oms_active_body: JqBody = _default_body(
        '{"mode":"active","reason":$reason}',
        description="jq that builds the request to trade again; $reason is our name",
    )
    oms_standby_condition: Jq = _default_jq(
        '.mode == "standby"', description="jq over the mode document: in standby"
    )
    oms_active_condition: Jq = _default_jq(
        '.mode == "active"', description="jq over the mode document: trading"
    )
    oms_owner_filter: Jq = _default_jq(
        ".reason", description="jq over the mode document: who put it into standby; null: nobody named"
    )
    oms_unnamed_is_ours: bool = Field(default=True, description="whether a standby that names nobody is ours")
    oms_reason: str = Field(
        "argocd-sync", description="our name as owner; ours is this and everything under it (name/...)"
    )
    hook_run_id: str | None = Field(
        None, description="this run, e.g. the Job's uid; $reason is OMS_REASON/HOOK_RUN_ID"
    )
    oms_attempt_timeout_seconds: Seconds = Field(
        5, description="one request as a whole: name, connect, headers and body together"
    )
    oms_max_body_bytes: Annotated[int, Field(ge=1, le=1 << 30)] = Field(
        1048576, description="of a response, after decompression; more is an unreadable body"
    )

    @field_validator("oms_ca_file", "oms_client_cert_file")
    @classmethod
    def _holds_certificates(cls, value: Path | None) -> Path | None:
        if value is not None:
            _try_certificates(lambda context: context.load_verify_locations(cafile=value))
        return value

    @field_validator("oms_client_key_file")
    @classmethod
    def _is_a_pair(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        certificate = info.data.get("oms_client_cert_file")
        if certificate is not None:
            _try_certificates(lambda context: load_client_certificate(context, certificate, value))
        elif value is not None and "oms_client_cert_file" in info.data:
            raise ValueError("is set without OMS_CLIENT_CERT_FILE")
        return value


def load_client_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Show this certificate; an encrypted key is a fault (without a password OpenSSL asks the terminal)."""
    context.load_cert_chain(certificate, key, password=lambda: b"")


def _try_certificates(use: Any) -> None:
    try:
        use(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    except ssl.SSLError:
        raise ValueError(
            "is not what it should be: PEM, unencrypted, certificate and key belonging together"
        ) from None
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None


class Since(BaseSettings):
    oms_since_filter: Jq = _default_jq(
        ".since",
        description="jq over the mode document: in standby since when, RFC 3339 or Unix seconds; null: not told",
    )


class Undo(BaseSettings):
    standby_undo_seconds: Seconds = Field(10, description="how long a return to trading has to be confirmed")


class Standby(Undo, Oms):
    """What presync-standby reads."""

    oms_standby_body: JqBody = _default_body(
        '{"mode":"standby","reason":$reason}',
        description="jq that builds the standby request; $reason is our name",
    )
    standby_timeout_seconds: Seconds = Field(60, description="how long all targets have to confirm")
    standby_poll_seconds: Seconds = Field(0.1, description="from one look at all targets to the next")
    standby_on_failure: Literal["return", "hold"] = Field(
        "return", description="return what this run moved when it fails, or hold all as it is"
    )
    standby_if_absent: Literal["fail", "skip"] = Field(
        "fail", description="skip: succeed when the name of the OMS stays unknown to DNS"
    )
    standby_absent_seconds: Seconds = Field(
        35, description="how long the name must be unknown; longer than DNS keeps a negative answer"
    )
    standby_if_foreign: Literal["proceed", "wait", "refuse"] = Field(
        "proceed", description="what to do about a target that somebody else holds in standby"
    )
    standby_guard_condition: Jq | None = Field(
        None, description="jq over the health document that must be true before anything is sent"
    )

    @field_validator("standby_absent_seconds")
    @classmethod
    def _ends_before_the_time_out(cls, value: float, info: ValidationInfo) -> float:
        if info.data.get("standby_if_absent") == "skip" and value >= info.data.get(
            "standby_timeout_seconds", value + 1
        ):
            raise ValueError("must be less than STANDBY_TIMEOUT_SECONDS")
        return value


class Health(BaseSettings):
    """What healthy means."""

    verify_poll_seconds: Seconds = Field(0.2, description="from one look at all targets to the next")
    verify_condition: Jq = _default_jq(
        '.status == "healthy" and .exchange_connections == "all_connected"',
        description="jq over the health document: healthy; env.NAME reads the environment",
    )
    verify_consecutive: Count = Field(3, description="so many healthy looks in a row, on all targets")


class Verification(Health, Undo, Oms):
    """What return-to-active reads."""

    verify_timeout_seconds: Seconds = Field(300, description="how long all targets have to become healthy")
    verify_fail_condition: Jq | None = Field(
        None, description="jq over the health document; true ends the verification at once"
    )


class Incident(BaseSettings):
    """Which incident a page is about, where it is sent, and who else is told."""

    pagerduty_routing_key: SecretStr | None = Field(
        None, description="integration key of the service; secret"
    )
    pagerduty_events_url: Url = Field(
        "https://events.pagerduty.com/v2/enqueue", description="Events API v2; the EU has a host of its own"
    )
    pagerduty_severity: Literal["critical", "error", "warning", "info"] = Field(
        "critical", description="severity of the event"
    )
    pagerduty_source: str = Field("argocd", description="source of the event")
    pagerduty_component: str | None = Field(
        None, description="component of the event; unset: the Application's name"
    )
    pagerduty_dedup_key: str | None = Field(
        None, description="the same for trigger and resolve; unset: argocd-sync/<instance>/<namespace>/<app>"
    )
    pagerduty_attempt_timeout_seconds: Seconds = Field(
        10, description="one request to PagerDuty or a fallback"
    )
    argocd_app_name: str | None = Field(None, description="the Application's name")
    argocd_app_namespace: str = Field("argocd", description="the Application's namespace")
    argocd_url: Url | None = Field(None, description="Argo CD's own address, for links")
    alert_fallback_url: Annotated[SecretStr, AfterValidator(_secret_urls)] | None = Field(
        None,
        description="told as well when PagerDuty refuses or stays silent; several are comma-separated; secret",
    )
    alert_fallback_format: Literal["slack", "alertmanager"] = Field(
        "slack",
        description="slack: a webhook that takes what Slack's take; alertmanager: the base address of an Alertmanager",
    )


class Postsync(Incident, Verification):
    """What postsync-verify reads."""

    verify_return_to_active: bool = Field(default=True, description="return to trading what was verified")
    verify_soak_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0, description="go on looking for so long after the return; 0 is off"
    )

    @field_validator("argocd_app_name")
    @classmethod
    def _names_the_incident(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("pagerduty_routing_key") is not None:
            raise ValueError("is missing beside PAGERDUTY_ROUTING_KEY")
        return value


class Paging(Incident):
    """What a page says besides, and how long PagerDuty alone is tried."""

    alert_runbook_url: Url | None = Field(None, description="linked from the page")
    alert_fallback_after_seconds: Seconds = Field(45, description="how long PagerDuty may stay silent")
    service_account_dir: Path = Field(
        Path("/var/run/secrets/kubernetes.io/serviceaccount"),
        description="holds token and ca.crt; without a token the Application is not read",
    )


class Alert(Paging, Since, Health, Undo, Oms):
    """What syncfail-alert can do without: everything (a page that lacks a fact beats no page)."""

    oms_url: Annotated[tuple[BaseUrl, ...], BeforeValidator(_base_urls)] = Field(
        (),
        description="base address of the OMS, http(s); several are comma-separated; unset: its mode is not told",
    )
    alert_timeout_seconds: Seconds = Field(
        300, description="how long a page is tried, from the first attempt"
    )
    alert_gather_seconds: Seconds = Field(5, description="how long facts for the page are gathered")
    alert_recovery: Literal["none", "return-to-active"] = Field(
        "none", description="return-to-active: return what is ours and healthy to trading, then page"
    )
    kubernetes_service_host: str | None = Field(
        None, description="the Kubernetes API, as Kubernetes tells it"
    )
    kubernetes_service_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        443, description="its port, as Kubernetes tells it"
    )


class AlertByPagerDuty(Alert):
    """What syncfail-alert reads."""

    pagerduty_routing_key: SecretStr = Field(description="integration key of the service; secret")


class Watch(Paging, Since, Oms):
    """What standby-watchdog reads."""

    pagerduty_routing_key: SecretStr = Field(description="integration key of the service; secret")
    argocd_app_name: str = Field(description="the Application's name")
    watch_poll_seconds: Seconds = Field(5, description="from one look at all targets to the next")
    watch_standby_seconds: Seconds = Field(900, description="how long the OMS may be in our standby")
    watch_unreadable_seconds: Seconds = Field(300, description="how long no target may be readable")
    watch_repeat_seconds: Seconds = Field(3600, description="how often an incident that lasts is paged again")
    watch_listen: Annotated[str, AfterValidator(_listen)] = Field(
        "0.0.0.0:9464",  # a Pod's own address is not known before
        description="HOST:PORT where /metrics and /healthz are served",
    )


_EXIT_CODES = """\
exit codes: 0 succeeded, 1 refused, 2 misconfigured, 3 timed out, 4 undo failed (a person is needed now),
            70 crashed (a bug), 143 terminated (what was to be undone is undone)"""

S = TypeVar("S", bound=Logging)


def load(kind: type[S], *, ignoring: Collection[str] = ()) -> S:
    """Read the environment; variables in `ignoring` are taken as unset.

    Raises MisconfiguredError with every fault at once, by the variable's name.
    """
    try:
        return kind(ignoring=ignoring)  # type: ignore[call-arg]
    except ValidationError as error:
        # A fault of a default is reported by the field's own name.
        faults = {str(fault["loc"][0]).upper(): _in_words(fault["msg"]) for fault in error.errors()}
        raise MisconfiguredError(faults) from None


def load_what_can_be_used(kind: type[S]) -> tuple[S, dict[str, str]]:
    """Read the environment with defaults in place of what is faulty; return the faults as well.

    Raises MisconfiguredError when a default does not do either.
    """
    faults: dict[str, str] = {}
    while True:
        try:
            return load(kind, ignoring=_with_partners(faults)), faults
        except MisconfiguredError as error:
            if error.faults.keys() <= faults.keys():
                raise
            faults |= error.faults


def files_of(given: Oms) -> dict[Path, tuple[int, ...] | None]:
    """Return every file that these settings came from, or could, with what tells that it has changed."""
    named = (given.oms_ca_file, given.oms_client_cert_file, given.oms_client_key_file)
    files = [path for path in named if path is not None]
    if given.secrets_dir is not None:
        files += [given.secrets_dir / name.upper() for name in type(given).model_fields]
    return {path: _state_of(path) for path in files}


def _state_of(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _with_partners(faulty: Collection[str]) -> set[str]:
    """Add what is nothing without the other: a certificate and its key."""
    pair = {"OMS_CLIENT_CERT_FILE", "OMS_CLIENT_KEY_FILE"}
    return {*faulty, *pair} if pair & set(faulty) else set(faulty)


def _in_words(message: str) -> str:
    if message == "Field required":
        return "is missing"
    message = message.removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def described(kind: type[Logging]) -> str:
    """Return every variable that a command reads: name, default, unit and meaning."""
    lines = ["variables (each can instead be a file of the same name in SECRETS_DIR; an empty one is unset):"]
    for name, of in kind.model_fields.items():
        lines += [
            "",
            f"  {name.upper()}  ({_default_in_words(of)}){_unit(name)}",
            *_wrapped(of.description or ""),
        ]
    return "\n".join([*lines, "", _EXIT_CODES])


def default_of(of: FieldInfo) -> str:
    """Return a default as it would be written in the environment."""
    if of.is_required():
        return "required"
    value = of.default
    if value is None or value == ():
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(of.json_schema_extra, dict):
        return str(of.json_schema_extra["written"])
    return f"{value:g}" if isinstance(value, float) else str(value)


def _default_in_words(of: FieldInfo) -> str:
    default = default_of(of)
    return default if default in {"required", "unset"} else f"default: {default}"


def _unit(name: str) -> str:
    return {"SECONDS": ", seconds", "BYTES": ", bytes"}.get(name.upper().rpartition("_")[2], "")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, width=96, initial_indent="      ", subsequent_indent="      ")
