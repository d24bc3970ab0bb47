"""The command from end to end: regression, retrieval, a slide; told, resumed, refused."""

import csv
import json

import anndata
import numpy as np
import pytest
from embedded import embed_tiles
from extras import need
from made_slides import slide, write_tiff
from PIL import Image

from pathjax.cli import main
from pathjax.data.row_ranges import RowRanges
from pathjax.embeddings.embedding_file import EmbeddingError
from pathjax.models.model_file import load_model, save_model
from pathjax.predict import PredictError
from pathjax.predict.heads import Regression
from pathjax.predict.options import Options
from pathjax.predict.run import predict
from pathjax.wsi.base import SlideError


def genes_of(checkpoint, count=2):
    return ",".join(load_model(checkpoint).meta["panel"]["genes"][:count])


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_by_regression(checkpoints, tiny_study, tmp_path, capsys):
    run = checkpoints["regression"]
    genes = genes_of(run)
    out = tmp_path / "out"
    words = ["--split", "main", "--fold", "test", "--genes", genes, "--batch", "8"]
    assert not main(
        ["predict", str(run), str(tiny_study.root), "--out", str(out), *words]
        + ["--measured", "--max-maps", "1"]
    )
    got = anndata.read_h5ad(out / "predicted.h5ad")
    rows = tiny_study.fold_tiles("main", "test")
    model = load_model(run)
    expected = Regression(model)(embed_tiles(model, tiny_study, rows, batch=8), [0, 1])
    np.testing.assert_allclose(got.X, expected, rtol=1e-5)
    assert got.obs_names.tolist() == tiny_study.tiles["tile_id"][rows].tolist()
    assert got.var_names.tolist() == genes.split(",")
    about = got.uns["pathjax"]
    assert about["unit"] == "log1p(counts per 10,000)"
    assert about["audit"].startswith("clean") and "sha256:" in about["model"]
    assert about["input_fingerprint"] == f"{tiny_study.fingerprint} main/test"
    assert set(got.uns["spatial"]) == {"P10a", "P10b", "P11a", "P11b"}
    means = {(row["level"], row["id"]): row for row in rows_of(out / "means.csv")}
    first = genes.split(",")[0]
    mean = got.X[got.obs["slide_id"] == "P11b"][:, 0].mean()
    assert float(means["slide", "P11b"][first]) == pytest.approx(mean, rel=1e-4)
    assert means["sample", "P10"]["tiles"] == "6"
    assert len(rows_of(out / "genes.csv")) == 2
    assert len(list((out / "maps").glob("P10a-*.png"))) == 1
    printed = capsys.readouterr()
    assert "not for clinical use" in printed.out and "AUDIT" not in printed.err
    # This run measures, so it says where the result is, and not to measure.
    assert "their r on these samples is in genes.csv" in printed.out
    assert "(--measured)" not in printed.out
    assert "1 of 8 maps" in printed.out


def test_patients_trained_on_are_named_aloud(checkpoints, tiny_study, tmp_path, capsys):
    run, out = checkpoints["regression"], tmp_path / "out"
    known = tmp_path / "genes.csv"
    gene = genes_of(run, 1)
    known.write_text(f"gene,n,r\n{gene},9,0.1\n")
    words = ["--split", "main", "--fold", "train", "--validation", str(known)]
    main(["predict", str(run), str(tiny_study.root), "--out", str(out), *words])
    printed = capsys.readouterr()
    assert "AUDIT: TRAINED ON: patients P00, P01" in printed.err
    assert "1 genes are poorly predicted" in printed.out
    got = anndata.read_h5ad(out / "predicted.h5ad")
    assert got.obs["in_training"].all() and got.shape == (48, 6)
    assert got.uns["pathjax"]["audit"].startswith("TRAINED ON")
    assert got.var["trust"][gene].startswith("poor")


def test_it_goes_on_where_it_was_stopped(checkpoints, tiny_study, tmp_path):
    run = checkpoints["regression"]
    options = Options(split="main", fold="val", batch=8)

    def stop(now, total):
        raise KeyboardInterrupt

    once = predict(run, tiny_study.root, tmp_path / "once", options)
    with pytest.raises(KeyboardInterrupt):
        predict(run, tiny_study.root, tmp_path / "often", options, progress=stop)
    assert not (tmp_path / "often" / "predicted.h5ad").exists()
    done = []
    often = predict(
        run,
        tiny_study.root,
        tmp_path / "often",
        options,
        progress=lambda now, total: done.append(now),
    )
    assert done[0] == 8  # those of before are not embedded again
    a, b = (anndata.read_h5ad(one.path) for one in (once, often))
    np.testing.assert_array_equal(a.X, b.X)
    other = Options(split="main", fold="test", batch=8)
    with pytest.raises(EmbeddingError, match="--overwrite"):
        predict(run, tiny_study.root, tmp_path / "often", other)


def test_shards_join_to_the_prediction_of_one_process(
    checkpoints, tiny_study, tmp_path, capsys
):
    run = checkpoints["regression"]
    words = ["predict", str(run), str(tiny_study.root), "--split=main", "--fold=test"]
    words += ["--batch=8", "--out"]
    once, joined = tmp_path / "once", tmp_path / "joined"
    assert not main([*words, str(once)])
    assert not main([*words, str(joined), "--shard=2/2"])
    assert f"{joined}, shard 2/2: 4 tiles embedded" in capsys.readouterr().out
    assert main([*words, str(joined)]) == 1
    assert "lacks 1 of 2 shards of 12 tiles: 1/2" in capsys.readouterr().err
    assert [path.name for path in joined.iterdir()] == ["embeddings.h5.partial"]
    assert not main([*words, str(joined), "--shard=1/2"])
    assert not main([*words, str(joined)])
    for name in ("embeddings.h5", "means.csv"):
        assert (joined / name).read_bytes() == (once / name).read_bytes()
    a, b = (anndata.read_h5ad(one / "predicted.h5ad") for one in (once, joined))
    np.testing.assert_array_equal(a.X, b.X)
    assert a.obs.equals(b.obs)


def test_a_study_by_retrieval(checkpoints, tiny_study, tmp_path):
    run, out = checkpoints["contrastive"], tmp_path / "out"
    with pytest.raises(PredictError, match="--reference"):
        predict(run, tiny_study.root, out)
    options = Options(
        split="main", fold="train", reference=tiny_study.root, nearest=3, batch=8
    )
    predict(run, tiny_study.root, out, options)
    got = anndata.read_h5ad(out / "predicted.h5ad")
    assert got.uns["pathjax"]["method"] == "retrieval"
    assert got.shape == (48, 6)
    slides, tiles = rows_of(out / "nearest.csv"), rows_of(out / "nearest_tiles.csv")
    assert len(slides) == 3 * 16 and len(tiles) == 3 * 48
    texts = {"P00": "a", "P01": "b", "P02": "c"}
    for row in slides:
        assert row["patient"] != row["query"][:3]  # never the slide's own
        assert row["report"] == texts.get(row["sample"], "")
    assert any(row["report"] for row in slides)
    assert [row["rank"] for row in tiles[:4]] == ["1", "2", "3", "1"]
    with pytest.raises(PredictError, match="leave out --reference"):
        predict(checkpoints["regression"], tiny_study.root, out, options)


def test_a_slide_and_a_folder(checkpoints, tmp_path):
    run = checkpoints["regression"]
    path = write_tiff(tmp_path / "s.tif", slide(400, 500), 0.5)
    options = Options(genes=genes_of(run, 1), batch=16)
    done = predict(run, path, tmp_path / "slide", options)
    got = anndata.read_h5ad(done.path)
    assert done.tiles == len(got) > 20 and got.uns["spatial"]["s"]
    assert got.uns["spatial"]["s"]["scalefactors"]["spot_diameter_fullres"] == 32
    assert (tmp_path / "slide" / "maps").is_dir()
    folder = tmp_path / "tiles"
    folder.mkdir()
    for i in range(3):
        pixels = np.full((16, 16, 3), 60 * i, np.uint8)
        Image.fromarray(pixels).save(folder / f"t_x{16 * i}_y0.png")
    (folder / "t_x99_y0.png").write_bytes(b"no image")
    done = predict(run, folder, tmp_path / "folder", options)
    got = anndata.read_h5ad(done.path)
    assert got.shape == (3, 1) and done.audit.startswith("unknown")
    np.testing.assert_array_equal(got.obsm["spatial"][:, 0], [8, 24, 40])
    assert any("1 images could not be read" in note for note in done.notes)
    assert any("is unknown: measure it on held-out" in note for note in done.notes)
    with pytest.raises(PredictError, match="no expression to compare with"):
        predict(run, folder, tmp_path / "folder", Options(measured=True))
    with pytest.raises(PredictError, match="--pictures: they are for the slides"):
        predict(run, folder, tmp_path / "folder", Options(pictures=tmp_path))
    told = json.loads((tmp_path / "folder" / "predicted.json").read_text())
    assert told["what"] == "expression predicted from images"


@pytest.mark.slow
def test_spots_are_drawn_beside_each_other(checkpoints, tiny_study, tmp_path):
    """Samples of one tile each: the small study with a tile of each patient kept."""
    from pathjax.predict import tiles as inputs

    run = checkpoints["regression"]
    real = inputs.open_input

    def one_each(*args, **kwargs):
        given = real(*args, **kwargs)
        own = given.source
        every = np.arange(0, len(given), 6)
        runs = given.runs.iloc[given.run_of(every)].assign(slide_id="s", tiles=1)
        rows = RowRanges(own.rows.take(every), np.ones(len(every), int))
        return inputs.dataclasses.replace(
            given,
            source=inputs.StudyPart(own.study, rows, "one each"),
            runs=runs,
            table=lambda tiles: given.table(every[tiles]).assign(slide_id="s"),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pathjax.predict.run.open_input", one_each)
        predict(run, tiny_study.root, tmp_path, Options(measured=True, batch=16))
    kept = json.loads((tmp_path / "spots.json").read_text())
    spots = kept["slides"]["s"]
    got = anndata.read_h5ad(tmp_path / "predicted.h5ad")
    expression = tiny_study.expression()
    assert spots["sample"] == [f"P{i:02d}" for i in range(12)]
    for gene, both in spots["genes"].items():
        column = got[:, gene].X[:, 0]
        np.testing.assert_allclose(both["predicted"], column, atol=1e-4)
        measured = np.asarray(expression[spots["sample"], gene].X)[:, 0]
        np.testing.assert_allclose(both["measured"], measured, atol=1e-4)
    table = {row["gene"]: row for row in rows_of(tmp_path / "genes.csv")}
    gene = next(iter(spots["genes"]))
    both = spots["genes"][gene]
    r = np.corrcoef(both["measured"], both["predicted"])[0, 1]
    assert float(table[gene]["r"]) == pytest.approx(r, abs=1e-3)
    with Image.open(tmp_path / "measured-s.png") as image:
        assert image.width > 1000


def test_a_real_slide(make_model, real_data, tmp_path):
    need("openslide")
    model = make_model()
    model.meta["image_px"] = 112
    save_model(tmp_path / "run", model)
    gene = model.meta["panel"]["genes"][0]
    path = real_data / "wsi" / "CMU-1-Small-Region.svs"
    done = predict(tmp_path / "run", path, tmp_path / "out", Options(genes=gene))
    got = anndata.read_h5ad(done.path)
    slide = got.uns["spatial"]["CMU-1-Small-Region"]
    # 112 um on a slide of 0.499 um/px, 2220 x 2967 px, about half of it tissue.
    side = slide["scalefactors"]["spot_diameter_fullres"]
    assert side == pytest.approx(112 / 0.499, abs=1)
    columns, rows = 2220 // int(side), 2967 // int(side)
    assert 0.3 * columns * rows < len(got) < 0.7 * columns * rows
    picture = slide["images"]["hires"]
    scale = slide["scalefactors"]["tissue_hires_scalef"]
    assert picture.shape[0] == pytest.approx(2967 * scale, abs=1)
    inside = got.obsm["spatial"].max(axis=0) + side / 2
    assert (inside <= [2221, 2968]).all()
    assert done.audit.startswith("clean")
    other = real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs"
    with pytest.raises(SlideError, match="--slide-mpp"):
        predict(tmp_path / "run", other, tmp_path / "out", Options())
