"""What the newest page says of its run."""

from robustmedclip.reporting.facts import with_facts


def test_the_newest_page_says_which_run_made_it_and_links_the_tables():
    page = with_facts("<p>a</p><!-- facts of the run -->", {"Run": "<1>", "duration": "3 s"}, ["latest/tables/mce.csv"])
    assert "Run &lt;1&gt;; duration 3 s." in page
    assert '<a href="latest/tables/mce.csv">mce</a>' in page


def test_the_page_has_a_place_for_these_facts():
    from importlib.resources import files

    template = files("robustmedclip.reporting").joinpath("report.html.jinja").read_text()
    assert template.count("<!-- facts of the run -->") == 1
