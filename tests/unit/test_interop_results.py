"""interop/results.py: a skip keeps its name, a gap shows, nothing passes silently."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "interop" / "results.py"
RUN = """<testsuites><testsuite>
<testcase name="test_we_dial[js]"><properties>
 <property name="identify" value="js-libp2p/9"/></properties>
 <failure message="AssertionError: no | ping">long</failure></testcase>
<testcase name="test_they_dial_us[js]"><skipped message="js-libp2p is not built"/></testcase>
<testcase name="test_we_dial[go]"><properties>
 <property name="identify" value="go-libp2p/9"/><property name="ping" value="1 ms"/>
 <property name="echo" value="5 of 5"/></properties></testcase>
<testcase name="test_the_stock_library_dials_us"/>
</testsuite></testsuites>"""


def test_every_row_has_its_result(tmp_path: Path) -> None:
    run = tmp_path / "run.xml"
    run.write_text(RUN)
    done = subprocess.run(
        [sys.executable, str(RESULTS), str(run)], capture_output=True, text=True, check=True
    )
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "|" in line]
    found = {tuple(row[:3]): row[3] for row in rows if len(row) >= 4}
    assert found["identify", "we dial", "js-libp2p"] == "pass"
    assert found["ping", "we dial", "js-libp2p"] == "FAIL"
    assert found["ping", "they dial us", "js-libp2p"] == "SKIPPED"
    assert found["ping", "we dial", "go-libp2p"] == "pass"
    # The test passed, and yet did not say so of this.
    assert found["echo of 20 MB", "we dial", "go-libp2p"] == "FAIL"
    assert found["mDNS", "we find them", "js-libp2p"] == "NOT RUN"
    assert "js-libp2p is not built" in done.stdout and "no / ping" in done.stdout
    assert "| ping, echo; it dials us | pass |" in done.stdout
    assert "| Kad-DHT: find_peer, provide | NOT RUN |" in done.stdout
    assert "## Not covered" in done.stdout
