"""Every file under tests/specs is a case; an invalid one says the code and the key it expects."""

from pathlib import Path

import jsonschema
import pytest

from ocdnet.config import spec
from ocdnet.errors import DataError, UserError
from ocdnet_generator import schemas

SPECS = Path(__file__).parents[1] / "specs"


def cases(*kinds):
    paths = [path for kind in kinds for path in sorted((SPECS / kind).glob("*/*.yaml"))]
    assert paths
    return [pytest.param(path, id=str(path.relative_to(SPECS))) for path in paths]


def schema_errors(path):
    action = path.parent.name
    validator = jsonschema.Draft202012Validator(schemas.build(action))
    tree = spec.normalised(action, spec.read(path))
    return [".".join(map(str, error.absolute_path)) for error in validator.iter_errors(tree)]


@pytest.mark.parametrize("path", cases("valid"))
def test_valid_spec_is_accepted_by_dataclasses_and_schema(path):
    spec.load(path.parent.name, path)
    assert schema_errors(path) == []


@pytest.mark.parametrize("path", cases("invalid", "invalid_runtime"))
def test_invalid_spec_names_code_and_key(path):
    code, key = path.read_text().splitlines()[0].removeprefix("# expect: ").split()
    with pytest.raises(UserError) as caught:
        spec.load(path.parent.name, path)
    error = caught.value
    assert (error.code, error.key or "-") == (code, key)
    assert key == "-" or repr(key) in error.message
    assert error.exit_code == (4 if isinstance(error, DataError) else 3)
    assert isinstance(error, DataError) == (code == "archive-as-path")


@pytest.mark.parametrize("path", cases("invalid"))
def test_invalid_spec_is_refused_by_the_schema_at_the_same_key(path):
    key = path.read_text().splitlines()[0].split()[-1]
    places = schema_errors(path)
    # Of an unknown key, the schema names the mapping that it is in.
    assert key in places or key.rpartition(".")[0] in places
