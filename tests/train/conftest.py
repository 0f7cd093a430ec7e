import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Networks of a few hundred weights only wait for their threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
