//! What `gait run inspect` says of a real run: its page in a browser, clicked and read, and its advice, taken.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use kernel_suite::CANARY;
use kernel_suite::browser::{self, Browser};
use kernel_suite::need::{GUARD, Need};
use kernel_suite::pack::{Decided, Pack};
use kernel_suite::run;
use kernel_suite::scene::{CORPUS_POLICY, Scene};
use kernel_suite::suite::{Test, test};
use serde_json::Value;

pub fn tests() -> Vec<Test> {
    let page = || GUARD.into_iter().chain([Need::Program(browser::PROGRAM)]);
    vec![
        test("run inspect --html: in a browser, what is clicked and typed is what is shown", page(), filter),
        test(
            "run inspect --html: without scripts all is there; another script than ours does not run",
            page(),
            scripts,
        ),
        test("run inspect: what it says to add to the policy allows just that", GUARD, advice),
    ]
}

/// A name that is markup, a file that may not be read and one that may not be made, and a second process.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";
const AGENT: &str = "cat '<img src=x onerror=alert(1)>' own; cat {S}/secret; echo x >.env; mkdir made; /bin/cat own";

/// A guarded run of [`AGENT`], what was recorded, and the page of it.
fn inspected() -> anyhow::Result<(Scene, Pack, PathBuf)> {
    let scene = Scene::new()?;
    fs::write(scene.path("{W}").join(HOSTILE), "harmless")?;
    let guarded = scene.guarded(CORPUS_POLICY, &["/bin/sh", "-c", AGENT])?;
    ensure!(guarded.ran.stdout == "harmlessownown", "{:?}", guarded.ran);
    let page = scene.path("{R}/page.html");
    let pack = scene.newest_pack()?;
    let words = [&run::gait().to_string_lossy(), "run", "inspect", &pack.to_string_lossy(), "--html", "{R}/page.html"];
    let ran = scene.bare(&words)?;
    ensure!(ran.code == 0 && page.is_file(), "{ran:?}");
    Ok((scene, guarded.pack, page))
}

/// Target and verdict of each row that is seen, in order.
const ROWS: &str = "[].filter.call(document.querySelectorAll('#rows > tbody > tr'), function (row) \
    { return row.getClientRects().length > 0; }).map(function (row) \
    { return row.cells[0].innerText.split(' ')[0] + ' ' + row.cells[1].innerText + ' ' + row.cells[2].firstChild.data.trim(); })";

fn rows(browser: &mut Browser) -> anyhow::Result<Vec<String>> {
    let rows = browser.ask(ROWS)?;
    Ok(rows.as_array().context("no list")?.iter().map(|row| row.as_str().unwrap_or_default().to_owned()).collect())
}

/// The rows that should be seen, from the journal as the suite reads it.
fn expected(pack: &Pack, wanted: impl Fn(&Decided) -> bool) -> Vec<String> {
    let row = |decided: &Decided| {
        let verdict = if decided.allowed { "allow" } else { "block" };
        format!("{verdict} {} {} {}", decided.tool, decided.operation, decided.value)
    };
    pack.decided.iter().filter(|decided| decided.count > 0 && wanted(decided)).map(row).collect()
}

fn filter() -> anyhow::Result<()> {
    let (scene, pack, page) = inspected()?;
    let mut browser = Browser::start()?;
    browser.open(&page)?;
    let all = expected(&pack, |_| true);
    let secret = scene.expand("{S}/secret");
    ensure!(rows(&mut browser)? == all, "{all:#?}\n{:#?}", rows(&mut browser)?);
    ensure!(all.iter().any(|row| row.ends_with(HOSTILE)), "{all:?}");

    browser.click("input[name=verdict][value=denied]")?;
    let denied = expected(&pack, |decided| !decided.allowed);
    ensure!(denied.len() >= 2 && denied.contains(&format!("block fs.read read {secret}")), "{denied:?}");
    ensure!(rows(&mut browser)? == denied, "{denied:#?}\n{:#?}", rows(&mut browser)?);
    browser.click("input[name=text]")?;
    browser.type_text("SECRET reads")?;
    let found = rows(&mut browser)?;
    ensure!(found == [format!("block fs.read read {secret}")], "{found:?}");
    ensure!(browser.ask("document.getElementById('count').innerText")? == format!("1 of {} rows shown", all.len()));
    browser.type_text(" nowhere-to-be-found")?;
    ensure!(rows(&mut browser)?.is_empty(), "{:?}", rows(&mut browser)?);
    ensure!(browser.ask("document.getElementById('none').getClientRects().length > 0")? == true);

    browser.click("#filter button[type=reset]")?;
    ensure!(rows(&mut browser)? == all, "{:?}", rows(&mut browser)?);
    browser.click("a[data-pick=cls][data-value='fs.write']")?;
    let writes = expected(&pack, |decided| decided.tool == "fs.write");
    ensure!(writes.len() >= 2 && rows(&mut browser)? == writes, "{writes:?}");

    browser.click("#filter button[type=reset]")?;
    browser.click("#processes tbody tr:nth-child(2) a[data-pick=proc]")?;
    let proc = browser.ask("document.querySelector('#filter select[name=proc]').value")?;
    let own: BTreeSet<u64> = pack
        .lines("decision")
        .filter(|line| line["proc"].as_u64() == proc.as_str().and_then(|number| number.parse().ok()))
        .filter_map(|line| line["def"].as_u64())
        .collect();
    ensure!(!own.is_empty() && rows(&mut browser)?.len() == own.len(), "{proc}: {own:?} {:?}", rows(&mut browser)?);

    for width in [390, 1400] {
        browser.resize(width)?;
        let fits = browser.ask("document.documentElement.scrollWidth <= window.innerWidth")?;
        ensure!(fits == true, "wider than a window of {width}");
    }
    let strange = browser.ask("document.querySelectorAll('img, iframe, object, embed, link, base').length")?;
    ensure!(strange == 0, "a name became an element");
    ensure!(browser.requests() == [format!("file://{}", page.display())], "{:?}", browser.requests());
    ensure!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    Ok(())
}

const FORM_IS_SEEN: &str = "document.getElementById('filter').getClientRects().length > 0";

fn scripts() -> anyhow::Result<()> {
    let (scene, pack, page) = inspected()?;
    let mut browser = Browser::start()?;
    browser.open(&page)?;
    ensure!(browser.ask(FORM_IS_SEEN)? == true, "control: the script does not run");
    browser.allow_scripts(false)?;
    browser.open(&page)?;
    ensure!(browser.ask(FORM_IS_SEEN)? == false, "a filter that does nothing");
    ensure!(rows(&mut browser)? == expected(&pack, |_| true), "rows are missing without scripts");
    ensure!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    browser.allow_scripts(true)?;

    // One more character in the script, and a handler where a name stands: neither may run.
    let text = fs::read_to_string(&page)?;
    let changed = text.replacen("'use strict';", "'use strict' ;", 1).replacen(
        "<h1>",
        "<h1><img src=\"\" onerror=\"document.title = 'run'\">",
        1,
    );
    ensure!(changed.len() > text.len() + 40, "nothing was changed");
    let other = scene.path("{R}/other.html");
    fs::write(&other, changed)?;
    browser.open(&other)?;
    ensure!(browser.ask(FORM_IS_SEEN)? == false, "another script ran");
    ensure!(browser.ask("document.title")? != "run", "a handler ran");
    let refused = browser.complaints().iter().filter(|told| told.contains("Content Security Policy")).count();
    ensure!(refused >= 2, "{:?}", browser.complaints());
    Ok(())
}

fn advice() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let agent = "cat {S}/secret; echo kept >{R}/elsewhere; cat {S}/program >/dev/null";
    let words = ["/bin/sh", "-c", agent];
    let before = scene.guarded(CORPUS_POLICY, &words)?;
    let (secret, elsewhere) = (scene.expand("{S}/secret"), scene.expand("{R}/elsewhere"));
    ensure!(!before.ran.stdout.contains(CANARY) && !scene.path(&elsewhere).exists(), "{:?}", before.ran);
    let pack = scene.newest_pack()?;
    let ran = scene.bare(&[&run::gait().to_string_lossy(), "run", "inspect", &pack.to_string_lossy(), "--json"])?;
    let answer: Value = serde_json::from_str(&ran.stdout).with_context(|| format!("{ran:?}"))?;
    let added = |value: &str| {
        let rows = answer["guarded"]["actions"]["rows"].as_array();
        let row = rows.into_iter().flatten().find(|row| row["value"] == value && row["enforced"] == "deny");
        row.map(|row| row["remedy"]["add"].clone()).with_context(|| format!("{value} was not denied: {answer}"))
    };
    let (rule, entry) = (added(&secret)?, added(&elsewhere)?);
    ensure!(rule["kind"] == "rule" && rule["before"] == "reads", "{rule}");
    ensure!(entry["kind"] == "entry" && entry["rule"] == "writes" && entry["list"] == "path_allowlist", "{entry}");

    let list = format!("path_allowlist: [{}, \"{{W}}/**\"", entry["value"]);
    let policy = CORPUS_POLICY.replacen("path_allowlist: [\"{W}/**\"", &list, 1);
    let policy = format!("{}  {}\n", policy, rule["yaml"].as_str().context("no rule")?);
    let after = scene.guarded(&policy, &words)?;
    ensure!(after.ran.stdout.contains(CANARY), "the secret is still denied: {:?}", after.ran);
    ensure!(fs::read_to_string(&elsewhere)? == "kept\n", "the file is still denied");
    let denied: BTreeSet<String> = after.pack.denied().map(|decided| decided.value.clone()).collect();
    ensure!(denied == BTreeSet::from([scene.expand("{S}/program")]), "{denied:?}");
    Ok(())
}
