"""A day's traffic in ten minutes: clients of every kind, rule files replaced every second, and afterwards nothing is
left, nothing has grown, nothing was lost.

    AWSOCKS_BUILD=build pytest tests/integration/test_soak.py -m long         SOAK_SECONDS=120 for less
    SOAK_SEED=7 ...                                                           the same clients again

900,000 clients in ten minutes are ten a second for 24 hours.
"""
import os
import random
from collections import Counter

import harness
import pytest
import soak

SECONDS = int(os.environ.get("SOAK_SECONDS", "600"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 10**6)
GROWTH_KIB = 1024       # of memory, that may be chance: two bytes for each of half a million clients
PIPE, PIPES_KEPT = "pipe:[N]", 32       # by net/sock_relay_splice.c


def run(awsocks, folder, workers, seconds, rate, conc, handshake_ms):
    folder = folder / "soak"        # beside $HOME: rules directly above that could not be replaced
    folder.mkdir()
    s = soak.Soak(awsocks, folder, SEED, handshake_ms, "--workers", str(workers))
    print(f"SOAK_SEED={SEED}")
    s.load(3, 20 * rate, conc, SEED + 1)        # all that is made once is there, and as many clients as ever will be
    s.quiet()
    base = s.descriptors_at_rest()
    assert base[PIPE] <= 8 + 2 * PIPES_KEPT * workers
    s.memory.clear()
    result = s.load(seconds, rate, conc, SEED)
    s.quiet()
    print(result, s.rounds, "reloads")
    s.check_audit()
    s.check_log()
    s.proxy.wait_for(lambda: same(s.descriptors(), base, workers), what=f"{base} to be open, not {s.descriptors()}")
    return s, result


def same(now, base, workers):
    """The same descriptors are open, and no more empty pipes than each loop keeps for the next transfers."""
    pipes = now.pop(PIPE, 0)
    return now == base - Counter({PIPE: base[PIPE]}) and pipes <= 8 + 2 * PIPES_KEPT * workers


@pytest.mark.parametrize("workers", [1, 2])
def test_a_short_soak(awsocks, tmp_path, workers):
    rate = 150 if harness.SANITIZED else 500
    s, result = run(awsocks, tmp_path, workers, 8, rate, 200, 5000)
    assert s.rounds > 0 and all(result["kinds"].values()) or result["clients"] < 1000


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("workers, seconds", [(1, SECONDS), (2, SECONDS * 2 // 5)])
def test_soak(awsocks, tmp_path, workers, seconds):
    s, result = run(awsocks, tmp_path, workers, seconds, 1500, 600, 10000)
    assert all(result["kinds"].values()) and s.wrong
    minute = SECONDS / 10                   # of the full length
    before, after = s.medians(minute, 2 * minute), s.medians(seconds - 2 * minute, seconds)
    print(f"Rss and anonymous memory in KiB: {before} in the second minute, {after} in the last two")
    assert all(a <= b + GROWTH_KIB for a, b in zip(after, before)), (before, after, SEED)
