"""tests/bypass: every published way round a sandbox's proxy that we know of, and some of our own."""
import glob
import importlib.util
import os

import bypass
import netns
import pytest

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bypass")
CASES = sorted(os.path.basename(path)[:-3] for path in glob.glob(os.path.join(FOLDER, "[0-9]*.py")))

pytestmark = pytest.mark.skipif(not netns.available(), reason="no namespaces here")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = bypass.World(tmp_path_factory.mktemp("bypass"))
    yield w
    status = w.proxy.stop()
    w.proxy.check_clean()
    w.close()
    assert status == 0, w.proxy.log()


@pytest.mark.parametrize("name", CASES)
def test_bypass(world, name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(FOLDER, f"{name}.py"))
    case = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(case)
    t = bypass.Try(world)
    case.attempt(t)
    t.check()
