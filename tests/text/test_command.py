"""`pathjax text` and `pathjax data reports` as a user types them; keys and kills."""

import logging
import os
import signal
import subprocess
import sys
import traceback

import numpy as np
import pytest
import text_server as bad
from extras import need

from pathjax.cli import main
from pathjax.data.study import Study
from pathjax.data.text_store import read_text
from pathjax.text.openai import OpenAIBackend

KINDS = ("clear cell carcinoma", "papillary tumour", "benign lymph node")
TEXTS = {f"P{i:02d}": f"report number {i} shows {KINDS[i % 3]}" for i in range(12)}


@pytest.fixture
def table(tmp_path):
    lines = "".join(f"{one},{text}\n" for one, text in TEXTS.items())
    (tmp_path / "r.csv").write_text(
        f"patient_id,text\n{lines}P99,\nX,nobody knows whose report this was\n"
    )
    return tmp_path / "r.csv"


@pytest.fixture
def embed(table, tmp_path, server):
    """The words of a run against the server, as a function of more words."""

    def words(*more):
        out, cache = tmp_path / "out.h5", tmp_path / "cache.sqlite"
        return ["text", "embed", str(table), "--backend=openai", "--model=m",
                f"--base-url={server.url}", f"--out={out}", f"--cache={cache}",
                "--batch=4", *more]  # fmt: skip

    return words


def test_reports_into_a_study_and_vectors_of_it(broken_copy, table, tmp_path, capsys):
    need("sklearn")
    root = str(broken_copy.root)
    assert main(["data", "reports", root, f"--reports={table}"]) == 1
    assert "has 3 other reports already: name --replace" in capsys.readouterr().err
    assert main(["data", "reports", root, f"--reports={table}", "--replace"]) == 0
    said = capsys.readouterr().out
    assert "1 texts are empty: left out, first ['P99']" in said
    assert "1 reports are of no sample: X" in said
    assert "reports of 12 samples added" in said
    study = Study(root)
    assert f"fingerprint: {study.fingerprint}" in said
    assert main(["data", "check", root]) == 0
    assert "12 of 12 samples have a report" in capsys.readouterr().out
    out = tmp_path / "t.h5"
    words = ["text", "embed", root, "--backend=tfidf", f"--out={out}"]
    assert main([*words, "--min-words=9"]) == 1
    assert "--min-words would not be used: a study's" in capsys.readouterr().err
    assert main([*words, "--fit-on=main:train", "--dimensions=3"]) == 0
    assert "12 texts, 3 numbers each" in capsys.readouterr().out
    found = read_text(out)
    assert found.meta["fitted_on"] == "main:train"
    assert found.meta["fingerprint"] == study.fingerprint
    values, present = found.align(study.samples["sample_id"])
    assert present.all() and values.shape == (12, 3)
    assert main(["text", "show", str(out)]) == 0
    assert "fitted_on: main:train" in capsys.readouterr().out


def test_over_http_and_again_for_nothing(embed, server, capsys):
    assert main(embed("--dry-run")) == 0
    said = capsys.readouterr().out
    assert "13 texts, 0 of them cut; 13 pieces to request" in said
    assert "nothing was sent (--dry-run)" in said and not server.requests
    assert main(embed()) == 0  # local: nothing to agree to
    assert main(embed()) == 0
    said = capsys.readouterr().out
    assert "0 pieces to request, 13 in the cache" in said
    assert len(server.requests) == 4 and set(server.paid.values()) == {1}
    assert main(embed("--price=5")) == 0  # in the cache: nothing to pay
    assert main(embed("--price=5", "--dimensions=6")) == 1
    assert "nothing was sent: agree with --yes" in capsys.readouterr().err
    assert main(embed("--price=5", "--dimensions=6", "--max-cost=0.1")) == 0
    assert "the server counted" in capsys.readouterr().out


@pytest.mark.slow
def test_killed_midway_and_run_again_only_the_rest_is_paid(embed, server, tmp_path):
    """kill -9 while the third of four requests is open; it is not answered."""
    started = subprocess.Popen(
        [sys.executable, "-m", "pathjax", *embed()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def kill(request):
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        request.close_connection = True

    server.script.extend([bad.well, bad.well, kill])
    assert started.wait(timeout=120) == -signal.SIGKILL
    assert len(server.paid) == 8 and not (tmp_path / "out.h5").exists()
    asked = len(server.requests)
    assert main(embed()) == 0
    assert len(server.requests) == asked + 2
    assert len(server.paid) == 13 and set(server.paid.values()) == {1}
    found = read_text(tmp_path / "out.h5")
    expected = [bad.vector_of(TEXTS[one]) for one in found.sample_ids[:12]]
    np.testing.assert_allclose(found.values[:12], expected, rtol=1e-6)


def test_shards_join_to_the_file_of_one_process(
    embed, table, server, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert main(embed()) == 0
    once, out = read_text(tmp_path / "out.h5"), tmp_path / "joined.h5"
    words = [word for word in embed() if "--cache" not in word and "--out" not in word]
    words.append(f"--out={out}")
    assert main([*words, "--shard=1/2", "--cache=x"]) == 1
    assert "--cache would not be used: shards keep" in capsys.readouterr().err
    server.script.extend([bad.well, bad.refuse(400)])
    assert main([*words, "--shard=2/2"]) == 1  # the second of its two requests
    assert main([*words, "--shard=2/2"]) == 0
    assert f"{out}, shard 2/2: 7 texts" in capsys.readouterr().out
    assert main(words) == 1
    assert "lacks 1 of 2 shards of 13 texts: 1/2. Run" in capsys.readouterr().err
    assert main([*words, "--shard=1/2"]) == 0
    asked = len(server.requests)
    assert main(words) == 0
    assert len(server.requests) == asked and set(server.paid.values()) == {2}
    joined = read_text(out)
    np.testing.assert_array_equal(joined.values, once.values)
    assert joined.sample_ids == once.sample_ids
    changing = {"created": "", "pathjax": ""}
    assert joined.meta | changing == once.meta | changing
    assert not [*tmp_path.glob("joined.h5.*")]
    tfidf = ["text", "embed", str(table), "--backend=tfidf", f"--out={out}"]
    assert main([*tfidf, "--shard=1/2"]) == 1
    assert "--shard would not be used: --backend tfidf" in capsys.readouterr().err


def echo_key(request):
    """An error that quotes what it was sent, as a careless proxy does."""
    sent = request.headers["Authorization"]
    bad.refuse(400, f"cannot read {sent}")(request)


@pytest.mark.slow
def test_the_key_is_in_no_output_and_no_file(embed, server, tmp_path):
    """With all of the package's logging on, and tracebacks."""
    server.script.extend([bad.refuse(500), bad.throttle("0"), bad.drop, bad.well,
                          echo_key])  # fmt: skip
    environment = os.environ | {
        "OPENAI_LOG": "debug",
        "PATHJAX_TRACEBACK": "1",
        "XDG_CACHE_HOME": str(tmp_path / "home"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pathjax", *embed()],
        check=False,
        capture_output=True,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 1
    assert b"cannot read Bearer [key]" in done.stderr
    assert b"openai._base_client" in done.stderr  # its log was on
    secret = bad.KEY.encode()
    assert all(
        one["headers"]["authorization"].endswith(bad.KEY) for one in server.requests
    )
    assert secret not in done.stdout + done.stderr
    assert main(embed()) == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"out.h5", "cache.sqlite"} <= {path.name for path in files}
    for path in files:
        assert secret not in path.read_bytes(), path


def test_the_key_is_in_no_object_log_or_traceback(server, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "httpx", "httpcore", "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, logger=name)
    backend = OpenAIBackend("m", base_url=server.url, retries=0)
    for answer in (echo_key, bad.refuse(401, bad.KEY), bad.refuse(500, bad.KEY)):
        server.script.append(answer)
        with pytest.raises(ValueError) as caught:
            list(backend.embed(["text"]))
        error = caught.value
        assert error.__cause__ is None
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert bad.KEY not in "".join(told.format())
    assert "sk-" not in repr(vars(backend)) + repr(backend) + caplog.text
    assert caplog.records


def test_strict_embeds_nothing_if_a_text_is_left_out(table, tmp_path, capsys):
    need("sklearn")
    words = ["text", "embed", str(table), "--backend=tfidf", f"--out={tmp_path}/v.h5"]
    assert main([*words, "--strict"]) == 1
    assert "--strict: " in (error := capsys.readouterr().err) and "left out" in error
    assert not (tmp_path / "v.h5").exists()
    assert main(words) == 0 and (tmp_path / "v.h5").exists()


@pytest.mark.parametrize(
    ("backend", "words", "message"),
    [
        (
            "tfidf",
            ["--max-tokens=9"],
            "--max-tokens would not be used: --backend tfidf",
        ),
        ("minilm", ["--fit-on=a:b"], "--fit-on would not be used: --backend minilm"),
        ("tfidf", ["--dimensions=0"], "--dimensions: expected at least 1, got 0"),
    ],
)
def test_options_of_other_backends_are_refused(
    table, tmp_path, capsys, backend, words, message
):
    words = ["text", "embed", str(table), f"--backend={backend}", *words]
    assert main([*words, f"--out={tmp_path}/v.h5"]) == 1
    assert message in capsys.readouterr().err
