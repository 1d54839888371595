"""The configuration: values with their origins, and changing the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fogp2p.api.context import Context
from fogp2p.api.errors import NotFound
from fogp2p.api.operations import PREFIX, Call, Operation
from fogp2p.api.scopes import Scope
from fogp2p.config import Loaded, describe_keys
from fogp2p.config_edit import edit_config
from fogp2p.schema import about, named

__all__ = ["routes"]

# Ten times as many settings as there are.
_MOST = 256


@dataclass(frozen=True, slots=True)
class SettingAnswer:
    """One setting as it is in force."""

    value: Any
    origin: str = field(metadata=about('"default", or the file, variable or flag it came from.'))
    about: str


@named("config/1")
@dataclass(frozen=True, slots=True)
class ConfigAnswer:
    """Every setting, by "section.key"."""

    settings: dict[str, SettingAnswer]


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """What to write into the file, and what to take out of it."""

    set: dict[str, Any] = field(
        default_factory=dict,
        metadata=about('"section.key" with its new value.', maxProperties=_MOST),
    )
    unset: tuple[str, ...] = field(
        default=(), metadata=about('"section.key" that returns to its default.', maxItems=_MOST)
    )


@named("config-changed/1")
@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """The file is written. Settings are read at the start: they act after a restart."""

    file: str
    previous: str = field(metadata=about("Where the file's content before is kept; may be empty."))
    restart_needed: bool
    overridden: tuple[str, ...] = field(
        metadata=about("Changed settings that a variable or flag keeps from acting.")
    )


def routes(context: Context) -> Sequence[Operation]:
    """Reading and changing."""

    async def read(call: Call) -> ConfigAnswer:
        return _settings(context.loaded)

    async def change(call: Call) -> ConfigChanged:
        file = context.config_file
        if file is None:
            raise NotFound("this peer runs without a configuration file")
        asked: ConfigChange = call.request
        environment = context.node.environment

        def write() -> Any:
            return edit_config(
                file.path,
                asked.set,
                asked.unset,
                disk=environment.disk,
                environ=file.environ,
                flags=file.flags,
            )

        edited = await environment.executor.in_thread(write)
        overridden = tuple(
            name for name in asked.set if not edited.loaded.origins[name].startswith("file ")
        )
        return ConfigChanged(
            file=str(file.path),
            previous=str(edited.previous or ""),
            restart_needed=edited.loaded.config != context.loaded.config,
            overridden=overridden,
        )

    return (
        Operation(
            method="GET",
            path=f"{PREFIX}/config",
            name="config",
            summary="Every setting in force, with where it came from.",
            scope=Scope.READ,
            handler=read,
            answer=ConfigAnswer,
        ),
        Operation(
            method="PATCH",
            path=f"{PREFIX}/config",
            name="change_config",
            summary="Change config.toml; comments stay, the old content is kept beside it.",
            scope=Scope.ADMIN,
            handler=change,
            request=ConfigChange,
            answer=ConfigChanged,
            errors=(NotFound,),
        ),
    )


def _settings(loaded: Loaded) -> ConfigAnswer:
    abouts = {name: text for name, _, text, _ in describe_keys()}
    return ConfigAnswer(
        {
            name: SettingAnswer(value, loaded.origins[name], abouts[name])
            for name, value in loaded.config.items()
        }
    )
