"""Opens the page of a backend in headless Chromium: takes a screenshot, types in its search, chooses its filters,
and asserts which rows are left.

How to run (from the root of the repository), with Debian's `chromium` and `chromium-driver`, and `pip install selenium`:

    cargo run --bin qconfig -- show onednn --format html > target/onednn.html
    python cli/tests/page.py target/onednn.html target/onednn.png

onednn has 221 patterns; the counts behind filters are printed.
"""

import pathlib
import sys
import tempfile

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

page, screenshot = map(pathlib.Path, sys.argv[1:3])
options = webdriver.ChromeOptions()
for flag in ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,900", "--disable-background-networking",
             f"--user-data-dir={tempfile.mkdtemp()}"]:
    options.add_argument(flag)
browser = webdriver.Chrome(options=options)
try:
    browser.get(page.resolve().as_uri())
    browser.save_screenshot(str(screenshot))

    def rows():
        return [row for row in browser.find_elements(By.CSS_SELECTOR, "tbody tr") if row.is_displayed()]

    def choose(name, text):
        Select(browser.find_element(By.NAME, name)).select_by_visible_text(text)

    count = browser.find_element(By.ID, "count")
    search = browser.find_element(By.NAME, "search")
    everything = rows()
    assert len(everything) == 221, len(everything)
    assert count.text == "221 of 221 patterns", count.text

    # every word must occur, in any order
    search.send_keys("relu conv2d")
    found = [row.find_element(By.TAG_NAME, "th").text.lower() for row in rows()]
    assert found and all("relu" in text and "conv2d" in text for text in found), found
    assert count.text == f"{len(found)} of 221 patterns"

    # of these, the ones that have a kernel for each pair: not the sums inside convolutions
    choose("kernel", "every pair has a kernel")
    with_kernel = [row.find_element(By.TAG_NAME, "th").text for row in rows()]
    assert 0 < len(with_kernel) < len(found), (len(with_kernel), found)
    assert not any("add(" in text for text in with_kernel), with_kernel

    # the clear field and another filter
    search.clear()
    search.send_keys(" ")
    choose("kernel", "a pair has none")
    lacking = rows()
    assert all("none" in row.text for row in lacking) and lacking
    choose("kernel", "with or without kernel")
    choose("dtype", "qint8")
    dtype = rows()
    assert 0 < len(dtype) < 221
    choose("dtype", "any dtype")
    choose("kind", "normalization")
    kinds = [row.find_element(By.TAG_NAME, "th").text for row in rows()]
    assert kinds and all("Norm" in text or "BNReLU" in text for text in kinds), kinds
    choose("kind", "any operator")
    assert len(rows()) == 221
    print(f"221 rows; {len(found)} hold `relu conv2d`, {len(with_kernel)} of them with kernels; "
          f"{len(lacking)} lack one; {len(dtype)} know qint8; {len(kinds)} normalizations")
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors, errors
    # a phone: nothing is wider than the screen but the table, which scrolls
    browser.set_window_size(390, 800)
    width = browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 0, width
    browser.save_screenshot(str(screenshot.with_stem(screenshot.stem + "_phone")))
finally:
    browser.quit()
