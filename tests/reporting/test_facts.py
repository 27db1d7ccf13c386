"""What the newest page says of its run."""

from robustmedclip.reporting.facts import facts_of_run, with_facts


def test_the_newest_page_says_which_run_made_it_and_links_the_tables():
    page = with_facts("<p>a</p><!-- facts of the run -->", {"Run": "<1>", "duration": "3 s"}, ["latest/tables/mce.csv"])
    assert "Run &lt;1&gt;; duration 3 s." in page
    assert '<a href="latest/tables/mce.csv">mce</a>' in page


def test_a_page_that_is_made_again_says_whose_results_it_shows():
    assert facts_of_run("b", "in 9 s", evaluated="a") == {"Results of run": "a", "page of run": "b, in 9 s"}
    assert facts_of_run("b", "in 3 min", evaluated="b") == {"Run": "b, in 3 min"}


def test_the_page_has_a_place_for_these_facts():
    from importlib.resources import files

    template = files("robustmedclip.reporting").joinpath("report.html.jinja").read_text()
    assert template.count("<!-- facts of the run -->") == 1
