import functools

import pytest
import torch

# A program, not tests.
collect_ignore = ["arm/cases.py"]


def _cache_decomposition_tables() -> None:
    """Torch walks every operator it has for each export; the walk's answer does not change within a test run."""
    from torch._export import utils
    from torch.export import decomp_utils, exported_program

    cached = functools.cache(utils._collect_all_valid_cia_ops)
    for module in (utils, exported_program, decomp_utils):
        module._collect_all_valid_cia_ops = cached


def pytest_configure(config: pytest.Config) -> None:
    _cache_decomposition_tables()


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)
