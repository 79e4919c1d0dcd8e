"""How does a secret come from a file, as Docker and systemd hand it out?"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from leasebox.contract.errors import ConfigError


class SecretFiles(PydanticBaseSettingsSource):
    """Reads `LEASEBOX_<NAME>_FILE`: the value is what the file holds, without the line end.

    `<NAME>_FILE` of a setting whose name is not ours.

    Args:
        fields: The settings that are secrets; the others cannot be given so.
    """

    def __init__(self, settings_cls: type[BaseSettings], fields: Collection[str]) -> None:
        super().__init__(settings_cls)
        self._fields = fields

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The secret that the file of this field holds, if there is one.

        Raises:
            ConfigError: The file cannot be read.
        """
        alias = field.validation_alias
        known_as = alias.choices[-1] if isinstance(alias, AliasChoices) else f"LEASEBOX_{field_name.upper()}"
        variable = f"{known_as}_FILE"
        path = os.environ.get(variable)
        if field_name not in self._fields or not path:
            return None, field_name, False
        try:
            return Path(path).read_text().rstrip("\r\n"), field_name, False
        except OSError as exc:
            raise ConfigError(f"{variable}: cannot read {path}: {exc.strerror}") from exc
        except UnicodeDecodeError as exc:
            raise ConfigError(f"{variable}: {path} is not UTF-8 text") from exc

    def __call__(self) -> dict[str, Any]:
        """Of all fields that have such a file; raises as `get_field_value`."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}
