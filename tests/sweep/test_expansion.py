import pytest

from ocnet_pl.errors import UserError
from ocnet_pl.sweep.expansion import expand


@pytest.mark.parametrize(
    ("swept", "told"),
    [
        ("compile=true,maybe", "compile=maybe: true or false is expected"),
        ("schedule.lr=0.01,fast", "schedule.lr=fast: a number is expected"),
        ("schedule.batch_size=8,0", "schedule.batch_size=0: a whole number from 1 up is expected"),
        ("dataset.crop_size=[64,64],64", "dataset.crop_size=64: a list is expected"),
    ],
)
def test_every_run_is_looked_at(swept: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        expand(["model/head=gp,ppm", swept, "dataset.root=data", "row=a,b"])
    assert str(caught.value).startswith(told)
