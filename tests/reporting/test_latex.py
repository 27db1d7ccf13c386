"""Tables for papers: what stands in the text, what fits a page, and that LaTeX takes it."""

import re
import shutil
import subprocess

import pandas as pd
import pytest

from robustmedclip.reporting.latex import TEXT_WIDTH, columns_that_fit, latex, table_width
from robustmedclip.reporting.leaderboard import main_text_table

ENDS = ("", "_low", "_high")
MODELS = ("phantom_resnet_robust_lora_k10", "phantom_vit")


def board() -> pd.DataFrame:
    """The columns of a leaderboard of two models that the table for the text of a paper is made of."""
    errors = {"clean_error": (20.04, 19.96), "corrupted_error": (30.0, 50.0), "mce": (60.0, 100.0)}
    values = {
        f"{name}{end}": [value + shift for value in pair]
        for name, pair in errors.items()
        for end, shift in zip(ENDS, (0, -2, 2), strict=True)
    }
    counts = {f"{name}_n": [500, 500] for name in errors}
    images = {"training_images": pd.array([304, pd.NA], "Int64"), "validation_images": pd.array([304, pd.NA], "Int64")}
    return pd.DataFrame({"model": MODELS, **images, **values, **counts})


def wide_text(columns: int, rows: int = 2) -> pd.DataFrame:
    cells = {f"clean error of data set {i}, % (n = 500)": ["-27.2 [-30.8, -23.2]"] * rows for i in range(columns)}
    return pd.DataFrame({"model": [MODELS[i % 2] for i in range(rows)], **cells})


def test_the_table_for_the_text_has_five_columns_n_in_its_caption_and_the_lowest_in_bold():
    text = main_text_table(board(), "phantom_vit")
    rows = [line for line in text.splitlines() if line.startswith("phantom")]
    assert [row.count("&") for row in rows] == [4, 4] and r"\begin{tabular}{lllll}" in text
    assert text.count("n = 500") == 1 and "n = 500" in text.split(r"\label")[0]
    tuned, base = rows
    assert tuned.startswith(r"phantom\_resnet\_robust\_lora\_k10 & 608 & \textbf{20.0} {\scriptsize [18.0, 22.0]}")
    assert tuned.count("textbf") == 3 and base.count("textbf") == 1, "errors that read alike are both the lowest"
    assert base.startswith(r"phantom\_vit & 0 &")


def test_a_table_that_is_wider_than_a_page_goes_on_in_further_tables():
    text = wide_text(9)
    assert table_width(text) > TEXT_WIDTH
    parts = columns_that_fit(text)
    assert len(parts) > 1 and [column for part in parts for column in part[1:]] == [*text.columns[1:]]
    assert all(part[0] == "model" and table_width(text[part]) <= TEXT_WIDTH for part in parts)
    labels = re.findall(r"\\label\{(.*?)\}", latex("Errors", text, "errors"))
    assert labels == ["tab:errors", *(f"tab:errors-{i}" for i in range(2, len(parts) + 1))]


def test_further_tables_repeat_all_columns_that_tell_rows_apart():
    text = wide_text(9, rows=4)
    text.insert(1, "confidence", ["as it is", "as it is", "scaled", "scaled"])
    assert {tuple(part[:2]) for part in columns_that_fit(text)} == {("model", "confidence")}
    assert columns_that_fit(wide_text(9))[1][1].startswith("clean error")


def test_a_table_of_many_rows_breaks_across_pages_and_repeats_its_heads():
    text = latex("Pairs", wide_text(2, rows=60), "pairs")
    assert r"\begin{longtable}" in text and r"\begin{table}" not in text
    assert text.count("clean error of") == 4 and text.count(r"\caption") == 1


def test_minus_signs_and_brackets_are_those_of_latex():
    text = latex("A [b]", pd.DataFrame({"[x]": ["[a-1]"], "y": ["-1.5"]}), "odd")
    assert "{[}a-1]" in text and "$-$1.5" in text and "{[}x]" in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs TeX")
def test_tex_sets_every_table_without_overfull_lines(tmp_path):
    tables = [main_text_table(board(), "phantom_vit"), latex("Wide & odd", wide_text(9), "wide")]
    tables += [latex("Pairs", wide_text(3, rows=60), "pairs")]
    head = r"\documentclass[a4paper]{article}\usepackage[margin=25mm]{geometry}\usepackage{booktabs,longtable}"
    body = "\n".join([head, r"\begin{document}", *tables, r"\end{document}"])
    (tmp_path / "paper.tex").write_text(body)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    run = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:]
    assert "Overfull" not in run.stdout
