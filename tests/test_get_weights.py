"""get_weights.sh against a local stand-in for the model hub, once with curl and once with wget."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from weights_server import FILES, SCRIPT, TOOLS, Hub, Runner, Served, dead_process, noise, sha256, toolbox

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server
        server.shutdown()


@pytest.fixture(params=["curl", "wget"])
def run(request: pytest.FixtureRequest, hub: Hub, tmp_path: Path) -> Runner:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return Runner(hub, tmp_path, request.param)


@pytest.fixture  # for what does not depend on the downloader
def run_curl(hub: Hub, tmp_path: Path) -> Runner:
    return Runner(hub, tmp_path, "curl" if shutil.which("curl") else "wget")


def test_default_fetches_both_small_ones_beside_the_script(hub: Hub, run: Runner, tmp_path: Path) -> None:
    contents = {name: noise(50_000, seed) for seed, name in enumerate(("vits", "metric_vits"))}
    for name, content in contents.items():
        hub.put(name, Served(content))
    run.script = Path(shutil.copy(SCRIPT, tmp_path / "get_weights.sh"))
    result = run(CHECKPOINT_DIR="")
    assert (result.returncode, result.stderr) == (0, "")
    assert run.left() == sorted(FILES[name][1] for name in contents)
    for name, content in contents.items():
        assert run.final(name).read_bytes() == content
    assert result.stdout.count("licence: Apache-2.0") == 2
    assert result.stdout.count("SHA-256 verified") == 2


def test_all_with_licences_and_a_mirror_address(hub: Hub, run_curl: Runner) -> None:
    for seed, name in enumerate(FILES):
        hub.put(name, Served(noise(3_000, seed)))
    result = run_curl("all", WEIGHTS_BASE_URL="", HF_ENDPOINT=hub.address + "/")
    assert result.returncode == 0, result.stderr
    for seed, name in enumerate(FILES):
        assert run_curl.final(name).read_bytes() == noise(3_000, seed)
    assert result.stdout.count("licence: CC-BY-NC-4.0 (non-commercial use only)") == 4


def test_chosen_name_then_skipped(hub: Hub, run: Runner) -> None:
    hub.put("metric_vitb", Served(noise(30_000)))
    assert run("metric_vitb").returncode == 0
    assert run.left() == [FILES["metric_vitb"][1]]
    before = run.final("metric_vitb").stat().st_mtime_ns
    again = run("metric_vitb")
    assert again.returncode == 0 and "already there" in again.stdout
    assert run.final("metric_vitb").stat().st_mtime_ns == before
    assert len(hub.fetched("metric_vitb")) == 1


def test_resumes_within_a_run(hub: Hub, run: Runner) -> None:
    content = noise(200_000)
    hub.put("vits", Served(content, cut_at=[100_000]))
    result = run("vits")
    assert result.returncode == 0, result.stderr
    assert run.final("vits").read_bytes() == content
    assert [request.range for request in hub.fetched("vits")] == [None, "bytes=100000-"]


def test_resumes_in_the_next_run(hub: Hub, run: Runner) -> None:
    content = noise(200_000)
    hub.put("vits", Served(content, cut_at=[100_000]))
    first = run("vits", WEIGHTS_RETRIES="1")
    assert first.returncode == 1 and "100000 of 200000 bytes" in first.stderr
    assert run.left() == [run.part("vits").name]
    second = run("vits")
    assert second.returncode == 0 and "continuing after 100000 bytes" in second.stdout
    assert run.final("vits").read_bytes() == content
    assert hub.fetched("vits")[-1].range == "bytes=100000-"


def test_server_without_ranges_starts_over(hub: Hub, run: Runner) -> None:
    content = noise(120_000)
    hub.put("vits", Served(content, ranges=False, cut_at=[60_000]))
    result = run("vits")
    assert result.returncode == 0, result.stderr
    assert run.final("vits").read_bytes() == content


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("extra", [0, 500])
def test_part_that_is_complete_or_too_long(hub: Hub, run: Runner, linked: bool, extra: int) -> None:
    content = noise(40_000)
    hub.put("vits", Served(content, linked=linked))
    run.checkpoints.mkdir()
    run.part("vits").write_bytes(content + b"x" * extra)
    result = run("vits")
    assert result.returncode == 0, result.stderr
    assert run.final("vits").read_bytes() == content
    assert len(hub.fetched("vits")) == (1 if extra else 0)


def test_truncated_for_good(hub: Hub, run: Runner) -> None:
    hub.put("vits", Served(noise(90_000), ranges=False, cut_at=[30_000], always_cut=True))
    hub.put("metric_vits", Served(b"the other one"))
    result = run()
    assert result.returncode == 1
    assert not run.final("vits").exists() and run.final("metric_vits").read_bytes() == b"the other one"
    assert result.stderr.splitlines()[-1] == "get_weights: 1 of 2 failed: vits"


def test_wrong_checksum_from_the_server(hub: Hub, run: Runner) -> None:
    hub.put("vits", Served(noise(20_000), linked_sha="ab" * 32))
    result = run("vits")
    assert result.returncode == 1 and run.left() == []
    assert f"expected SHA-256 {'ab' * 32}, found {sha256(noise(20_000))}" in result.stderr


def test_checksum_list_replaces_the_table(hub: Hub, run_curl: Runner, tmp_path: Path) -> None:
    content = noise(20_000)
    hub.put("vits", Served(content, linked=False))
    listed = tmp_path / "sums"
    listed.write_text(f"{'cd' * 32}  other.pth\n{sha256(content).upper()} *weights/{FILES['vits'][1]}\r\n")
    result = run_curl("vits", WEIGHTS_SHA256_FILE=str(listed))
    assert result.returncode == 0 and "SHA-256 verified" in result.stdout
    run_curl.final("vits").unlink()
    listed.write_text(f"{'cd' * 32}  {FILES['vits'][1]}\n")
    result = run_curl("vits", WEIGHTS_SHA256_FILE=str(listed))
    assert result.returncode == 1 and run_curl.left() == []


@pytest.mark.parametrize("linked", [True, False])
def test_built_in_table_refuses_other_files(hub: Hub, run: Runner, linked: bool) -> None:
    content = noise(1_000)
    hub.put("vits", Served(content, linked=linked))
    result = run("vits", WEIGHTS_SHA256_FILE="")
    assert result.returncode == 1 and run.left() == []
    assert (sha256(content) if linked else "expected 116440756 bytes, found 1000") in result.stderr
    assert len(hub.fetched("vits")) == (0 if linked else 1)  # a checksum named beforehand saves the transfer


def test_size_only_says_that_the_checksum_is_unknown(hub: Hub, run: Runner) -> None:
    hub.put("vits", Served(noise(1_000), linked=False))
    result = run("vits")
    assert result.returncode == 0 and "checksum could not be verified" in result.stdout


@pytest.mark.parametrize("status", [404, 403])
def test_error_status_is_not_retried(hub: Hub, run: Runner, status: int) -> None:
    hub.put("vits", Served(noise(1_000), linked=False, status=status))
    result = run("vits")
    assert result.returncode == 1 and run.left() == []
    assert f"/{FILES['vits'][1]} answered HTTP {status}\n" in result.stderr and result.stderr.count("\n") == 2
    assert len(hub.fetched("vits")) == 1


def test_server_error_is_retried(hub: Hub, run: Runner) -> None:
    hub.put("vits", Served(noise(1_000), status=503))
    result = run("vits")
    assert result.returncode == 1 and "answered HTTP 503" in result.stderr
    assert len(hub.fetched("vits")) == 3


@pytest.mark.parametrize("before", [0, 400, 40_000])
def test_web_page_in_place_of_the_file(hub: Hub, run: Runner, before: int) -> None:
    hub.put("vits", Served(b"<p>log in</p>" * 100, linked=False, ranges=False, content_type="text/html"))
    run.checkpoints.mkdir()
    if before:
        run.part("vits").write_bytes(b"p" * before)
    result = run("vits")
    assert result.returncode == 1 and "HTTP 200 with a web page" in result.stderr
    assert not run.final("vits").exists()
    if run.part("vits").exists():  # what an earlier run fetched is kept, or nothing of it
        assert run.part("vits").read_bytes() == b"p" * before


def test_damaged_file_is_replaced_on_success_only(hub: Hub, run: Runner) -> None:
    content = noise(10_000)
    served = hub.put("vits", Served(content, linked_sha="ab" * 32))
    run.checkpoints.mkdir()
    for damaged in (content[:-1], noise(10_000, seed=1)):
        run.final("vits").write_bytes(damaged)
        served.linked_sha = "ab" * 32
        assert run("vits").returncode == 1
        assert run.final("vits").read_bytes() == damaged
        served.linked_sha = None
        result = run("vits")
        assert result.returncode == 0 and "looks damaged" in result.stdout
        assert run.final("vits").read_bytes() == content


def test_present_file_stays_when_the_server_is_away(run: Runner) -> None:
    run.checkpoints.mkdir()
    run.final("vits").write_bytes(b"whatever")
    result = run("vits", WEIGHTS_BASE_URL="http://127.0.0.1:9")
    assert result.returncode == 0 and "neither size nor checksum could be verified" in result.stdout


def test_file_address(run: Runner, tmp_path: Path) -> None:
    repository, file = FILES["vits"]
    source = tmp_path / "a mirror" / "depth-anything" / repository / "resolve" / "main" / file
    source.parent.mkdir(parents=True)
    source.write_bytes(noise(5_000))
    base = (tmp_path / "a mirror").as_uri()
    result = run("vits", "metric_vits", WEIGHTS_BASE_URL=base)
    assert "%20" in base and run.final("vits").read_bytes() == source.read_bytes()
    assert result.returncode == 1 and "metric_video_depth_anything_vits.pth: no such file" in result.stderr


def test_unknown_name_and_settings_end_before_any_download(hub: Hub, run_curl: Runner) -> None:
    result = run_curl("vits", "vith")
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
    assert "'vith'" in result.stderr and all(name in result.stderr for name in FILES)
    assert run_curl("vits", WEIGHTS_RETRIES="many").returncode == 2
    assert run_curl("vits", WEIGHTS_SHA256_FILE="missing.txt").returncode == 2
    assert hub.requests == [] and not run_curl.checkpoints.exists()


def test_help(run_curl: Runner) -> None:
    result = run_curl("--help")
    assert result.returncode == 0
    assert all(word in result.stdout for word in [*FILES, "CC-BY-NC-4.0", "WEIGHTS_SHA256_FILE", "CHECKPOINT_DIR"])


def test_neither_curl_nor_wget(run_curl: Runner, tmp_path: Path) -> None:
    result = run_curl("vits", PATH=toolbox(tmp_path / "bare", TOOLS))
    assert (result.returncode, result.stderr) == (2, "get_weights: needs curl or wget; neither was found\n")


@pytest.mark.skipif(shutil.which("shasum") is None, reason="shasum is not installed")
def test_shasum_and_no_ps(hub: Hub, run_curl: Runner, tmp_path: Path) -> None:
    hub.put("vits", Served(noise(5_000)))
    tools = [tool for tool in TOOLS if tool not in ("sha256sum", "ps")]
    result = run_curl("vits", PATH=toolbox(tmp_path / "mac", [*tools, "shasum", run_curl.tool]))
    assert result.returncode == 0 and "SHA-256 verified" in result.stdout, result.stderr


def test_second_run_waits_for_the_first(hub: Hub, run: Runner) -> None:
    content = noise(160_000)
    hub.put("vits", Served(content, pause=0.1))
    runs = [run.start("vits"), run.start("vits")]
    outputs = [process.communicate(timeout=20) for process in runs]
    assert [process.returncode for process in runs] == [0, 0], outputs
    assert run.final("vits").read_bytes() == content
    assert run.left() == [run.final("vits").name] and len(hub.fetched("vits")) == 1
    assert sum("already there" in out for out, _ in outputs) == 1


def test_killed_run_frees_the_lock_and_is_continued(hub: Hub, run: Runner) -> None:
    content = noise(160_000)
    served = hub.put("vits", Served(content, pause=0.3))
    process = run.start("vits")
    run.wait_for_part("vits")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 143 and run.left() == [run.part("vits").name]
    served.pause = 0.0
    assert run("vits").returncode == 0
    assert run.final("vits").read_bytes() == content
    assert hub.fetched("vits")[-1].range is not None


@pytest.mark.parametrize("owner", ["gone", "unsigned", "elsewhere"])
def test_stale_lock_does_not_block(hub: Hub, run_curl: Runner, owner: str) -> None:
    hub.put("vits", Served(noise(5_000)))
    lock = run_curl.make_lock("vits")
    if owner != "unsigned":
        host = os.uname().nodename if owner == "gone" else "another-machine"
        (lock / "owner").write_text(f"{host} {dead_process()}\n")
    if owner != "gone":
        os.utime(lock, (time.time() - 3600,) * 2)
    result = run_curl("vits", WEIGHTS_LOCK_WAIT="5")
    assert result.returncode == 0, result.stderr
    assert run_curl.left() == [run_curl.final("vits").name]


@pytest.mark.parametrize("alive", ["owner", "child"])
def test_live_lock_is_respected(hub: Hub, run_curl: Runner, alive: str) -> None:
    lock = run_curl.make_lock("vits")
    with subprocess.Popen(["bash", "-c", "read -r; :", "get_weights.sh"], stdin=subprocess.PIPE) as holder:
        owner = holder.pid if alive == "owner" else dead_process()
        (lock / "owner").write_text(f"{os.uname().nodename} {owner}\n")
        (lock / "child").write_text(f"{holder.pid}\n")
        result = run_curl("vits", WEIGHTS_LOCK_WAIT="1")
        holder.communicate(b"\n")
    assert result.returncode == 1 and "another run still holds" in result.stderr
    assert lock.is_dir() and hub.fetched("vits") == []
