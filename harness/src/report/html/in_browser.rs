//! The page in Chromium, as a reader uses it: on demand, since it needs Chromium.
//!
//! ```console
//! $ cargo test -p reachmap --lib in_browser -- --ignored --nocapture
//! ```
//!
//! `REACHMAP_PICTURES=DIR` keeps pictures of what was looked at; `REACHMAP_AXE=axe.min.js` has axe-core look, too;
//! `REACHMAP_REPORT=report.json` has pictures taken of that run.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::{html, page, tests::planted};
use crate::{
    browser::{Browser, View},
    report::{Picture, Run, read, sample, screenshots},
};

const DESK: View = View { width: 1280, height: 900, dark: false };
const PHONE: View = View { width: 390, height: 844, dark: false };
const CHECKS: &str = include_str!("in_browser/checks.js");

/// A page that is open in a browser of its own.
struct Open {
    browser: Browser,
    directory: tempfile::TempDir,
}

impl Open {
    async fn at(run: &Run, place: &str, view: View) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("report.html"), html(run)).unwrap();
        let mut open = Self { browser: Browser::start().await.unwrap(), directory };
        open.browser.look(view).await.unwrap();
        open.go(place).await;
        open
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("report.html")
    }

    /// Goes to it again, and runs no script from now on.
    async fn without_scripts(&mut self) {
        self.browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await.unwrap();
        self.go("").await;
    }

    async fn go(&mut self, place: &str) {
        let file = self.file();
        self.browser.open(&file, place).await.unwrap();
    }

    /// Ends the browser; nobody complained.
    async fn end(mut self) {
        assert_eq!(self.browser.complaints(), Vec::<String>::new());
        self.browser.close().await;
    }

    async fn ask(&mut self, expression: &str) -> Value {
        self.browser.evaluate(expression).await.unwrap()
    }

    async fn hash(&mut self) -> String {
        self.ask("location.hash").await.as_str().unwrap().to_owned()
    }

    async fn key(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            "Home" => (36, ""),
            "Tab" => (9, ""),
            _ => panic!("{key}"),
        };
        let kind = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        let down = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
        self.browser.call("Input.dispatchKeyEvent", down).await.unwrap();
        let up = json!({ "type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code });
        self.browser.call("Input.dispatchKeyEvent", up).await.unwrap();
    }

    /// Presses the pointer's button over what the selector finds.
    async fn click(&mut self, selector: &str) {
        let found = format!(
            "(() => {{ const one = document.querySelector({}); one.scrollIntoView({{ block: 'center' }}); \
             const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(selector)
        );
        let place = self.ask(&found).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.browser.call("Input.dispatchMouseEvent", event).await.unwrap();
        }
    }

    async fn choose(&mut self, facet: &str, value: &str) {
        let expression = format!(
            "(() => {{ const select = document.querySelector('select[name={facet}]'); select.value = {}; \
             select.dispatchEvent(new Event('change', {{ bubbles: true }})); return select.selectedIndex; }})()",
            json!(value)
        );
        assert!(self.ask(&expression).await.as_i64().unwrap() > 0, "{facet} has no {value}");
    }

    /// What the page's thread has computed so far, in milliseconds.
    async fn computed(&mut self) -> f64 {
        let metrics = self.browser.call("Performance.getMetrics", json!({})).await.unwrap();
        let of = |name: &str| {
            let all = metrics["metrics"].as_array().unwrap();
            all.iter().find(|one| one["name"] == name).and_then(|one| one["value"].as_f64()).unwrap()
        };
        of("TaskDuration") * 1e3
    }

    /// What a statement takes until its result is laid out and painted: by the clock, and of its thread, in milliseconds.
    async fn timed(&mut self, what: &str) -> (f64, f64) {
        let before = self.computed().await;
        let timed = format!(
            "(async () => {{ const start = performance.now(); {what}; \
             await new Promise(done => requestAnimationFrame(() => setTimeout(done))); return performance.now() - start; }})()"
        );
        let wall = self.ask(&timed).await.as_f64().unwrap();
        (wall, self.computed().await - before)
    }

    async fn keep(&mut self, name: &str) {
        let Some(directory) = std::env::var_os("REACHMAP_PICTURES").map(PathBuf::from) else { return };
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{name}.png")), self.browser.picture().await.unwrap()).unwrap();
    }

    /// All that the checks have to say of what is shown now.
    async fn faults(&mut self) -> Vec<String> {
        let faults = self.ask(CHECKS).await;
        let mut faults: Vec<String> = serde_json::from_value(faults).unwrap();
        let tree = self.browser.call("Accessibility.getFullAXTree", json!({})).await.unwrap();
        let nodes = tree["nodes"].as_array().unwrap();
        assert!(nodes.len() > 50, "there is hardly a tree: {}", nodes.len());
        let named = ["link", "button", "combobox", "dialog", "grid", "region", "navigation", "form"];
        for node in nodes.iter().filter(|node| node["ignored"] == false) {
            let (role, name) =
                (node["role"]["value"].as_str().unwrap_or(""), node["name"]["value"].as_str().unwrap_or(""));
            if named.contains(&role) && name.trim().is_empty() {
                faults.push(format!("a {role} has no name: {node}"));
            }
        }
        if let Some(axe) = std::env::var_os("REACHMAP_AXE") {
            let axe = fs::read_to_string(axe).unwrap();
            self.ask(&format!("{axe};0")).await;
            let found = self.ask("axe.run().then(found => found.violations.map(one => `axe ${one.id}: ${one.help}: ${one.nodes.map(node => node.html).slice(0, 3)}`))").await;
            faults.extend(serde_json::from_value::<Vec<String>>(found).unwrap());
        }
        faults
    }
}

const OPEN: &str = "document.getElementById('panel').open";
const FOCUSED: &str = "document.activeElement.hash ?? document.activeElement.id";

#[tokio::test]
#[ignore = "needs Chromium"]
async fn a_cell_is_opened_by_pointer_and_by_keys_and_closed_by_escape() {
    let mut page = Open::at(&sample::run(), "", DESK).await;
    let cell = "#access/load-balancer-pending/testpod/clusterip-short";
    page.click(&format!(".matrix a[href='{cell}']")).await;
    assert_eq!(page.ask(OPEN).await, true);
    assert_eq!(page.hash().await, cell);
    let text = page.ask("document.getElementById('inside').innerText").await;
    let text = text.as_str().unwrap();
    for part in ["had to be", "was seen", "resolve", "By hand", "cargo xtask shell testpod"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(page.ask("document.querySelectorAll('#inside svg.way rect').length").await.as_u64().unwrap() > 2);
    page.keep("cell").await;
    page.key("Escape").await;
    assert_eq!(page.ask(OPEN).await, false);
    assert_eq!(page.ask(FOCUSED).await, cell, "the focus is where it was");
    assert_eq!(page.hash().await, "#?");
    // What was in the panel is back in its place.
    assert_eq!(
        page.ask("document.querySelectorAll('details.item > .body').length").await,
        page.ask("document.querySelectorAll('.body').length").await
    );

    page.key("ArrowDown").await;
    let below = page.ask(FOCUSED).await;
    assert_ne!(below, cell);
    assert!(below.as_str().unwrap().starts_with("#access/load-balancer-pending/testpod/"), "{below}");
    page.key("ArrowUp").await;
    assert_eq!(page.ask(FOCUSED).await, cell);
    page.key("Enter").await;
    assert_eq!((page.ask(OPEN).await, page.hash().await), (true.into(), cell.to_owned()));
    page.key("ArrowRight").await;
    let next = page.hash().await;
    assert!(next != cell && next.starts_with("#access/load-balancer-pending/"), "{next}");
    page.key("ArrowLeft").await;
    assert_eq!(page.hash().await, cell);
    page.key("Escape").await;
    // One stop of the tab key for a whole matrix.
    let stops = "[...document.querySelectorAll('.matrix')].map(grid => [...grid.querySelectorAll('a')].filter(a => a.tabIndex === 0).length)";
    assert!(page.ask(stops).await.as_array().unwrap().iter().all(|stops| *stops == 1));
    page.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn an_address_leads_to_a_cell_a_load_or_a_lookup_and_back_leads_back() {
    let mut page = Open::at(&sample::run(), "load/distribution/load-balancer-ready/skewed", DESK).await;
    assert_eq!(page.ask(OPEN).await, true);
    assert_eq!(page.ask("document.querySelectorAll('#inside svg.plot').length").await, 2);
    page.keep("load").await;
    page.go("dns/corefile-original/ndots5-cluster/glibc").await;
    assert!(page.ask("document.querySelectorAll('#inside .bar').length").await.as_u64().unwrap() >= 3);
    page.keep("names").await;
    page.go("change/distribution/changing/restarted").await;
    assert_eq!(page.ask(OPEN).await, true);
    page.keep("change").await;
    page.go("").await;
    page.click("#loads tbody a").await;
    assert_eq!(page.ask(OPEN).await, true);
    page.ask("new Promise(done => { addEventListener('popstate', () => done(true)); history.back(); })").await;
    assert_eq!(page.ask(OPEN).await, false);
    page.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn cells_are_chosen_by_several_facets_together_and_the_address_has_it() {
    let run = sample::run();
    let mut page = Open::at(&run, "", DESK).await;
    let shown = "document.getElementById('count').textContent";
    let visible = "[...document.querySelectorAll('#matrix .matrix a')].filter(a => a.checkVisibility()).length";
    assert_eq!(page.ask(visible).await, run.verdicts.len());
    page.choose("verdict", "wrong").await;
    assert_eq!(page.ask(shown).await, format!("4 of {} cells", run.verdicts.len()));
    assert_eq!(page.ask(visible).await, 4);
    page.choose("vantage", "worker-1").await;
    let both = page.ask(visible).await;
    assert!(both.as_u64().unwrap() < 4);
    assert_eq!(page.hash().await, "#?vantage=worker-1&verdict=wrong");
    page.keep("filtered").await;
    // A cell is opened among those chosen, and the address has both.
    page.click("#matrix .matrix a:not([hidden])").await;
    let hash = page.hash().await;
    assert!(hash.starts_with("#access/") && hash.ends_with("?vantage=worker-1&verdict=wrong"), "{hash}");
    page.go(&hash[1..]).await;
    assert_eq!((page.ask(OPEN).await, page.ask(visible).await), (true.into(), both));
    page.key("Escape").await;
    page.click("#filters button[type=reset]").await;
    assert_eq!(page.ask(visible).await, run.verdicts.len());
    // Nothing is left where two facets exclude each other, and it is said.
    page.choose("vantage", "laptop").await;
    page.choose("verdict", "unprobed").await;
    assert_eq!(page.ask("document.getElementById('none').checkVisibility()").await, true);
    page.click("#all").await;
    assert_eq!(page.ask(visible).await, run.verdicts.len());
    page.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn it_can_be_read_in_light_and_dark_on_a_desk_and_on_a_phone() {
    let run = sample::run();
    let cell = "access/load-balancer-pending/testpod/clusterip-short";
    let mut page = Open::at(&run, "", DESK).await;
    for (name, view) in [
        ("light", DESK),
        ("dark", View { dark: true, ..DESK }),
        ("phone", PHONE),
        ("phone-dark", View { dark: true, ..PHONE }),
    ] {
        page.browser.look(view).await.unwrap();
        for (what, place) in [("page", ""), ("cell", cell), ("load", "load/distribution/load-balancer-ready/skewed")] {
            page.go(place).await;
            page.keep(&format!("{name}-{what}")).await;
            let faults = page.faults().await;
            assert!(faults.is_empty(), "{name}, {what}:\n{}", faults.join("\n"));
        }
        // All that is folded, too.
        page.go("").await;
        page.ask("document.querySelectorAll('details').forEach(one => { one.open = true; })").await;
        let faults = page.faults().await;
        assert!(faults.is_empty(), "{name}, unfolded:\n{}", faults.join("\n"));
    }
    page.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn pictures_are_taken_of_all_that_a_run_has() {
    let run = std::env::var_os("REACHMAP_REPORT").map_or_else(sample::run, |path| read(path.as_ref()).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let there: Vec<Picture> = Picture::ALL.into_iter().filter(|picture| picture.place(&run).is_some()).collect();
    let files = screenshots(&run, directory.path(), &Picture::ALL).await.unwrap();
    assert_eq!(files.len(), there.len());
    for (file, picture) in files.iter().zip(there) {
        let bytes = fs::read(file).unwrap();
        let is_small_png = bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.len() < 200_000;
        assert!(is_small_png, "{}: {} bytes", file.display(), bytes.len());
        // The width stands in the first chunk (PNG, 11.2.2).
        let width = u32::from_be_bytes(bytes[16..20].try_into().unwrap());
        assert_eq!(width, if picture == Picture::Phone { 390 } else { 1280 }, "{}", file.display());
        if let Some(kept) = std::env::var_os("REACHMAP_PICTURES").map(PathBuf::from) {
            fs::create_dir_all(&kept).unwrap();
            fs::copy(file, kept.join(file.file_name().unwrap())).unwrap();
        }
    }
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn text_from_the_network_makes_no_element_and_runs_nothing() {
    let (run, _) = planted(&sample::run());
    let mut page = Open::at(&run, "", DESK).await;
    let made =
        "[document.images.length, document.scripts.length, document.querySelectorAll('[onload], [onerror]').length]";
    assert_eq!(page.ask(made).await, json!([0, 1, 0]));
    page.click(".matrix a").await;
    assert_eq!(page.ask(OPEN).await, true);
    assert_eq!(page.ask(made).await, json!([0, 1, 0]));
    assert_eq!(page.browser.complaints(), Vec::<String>::new());
    // The policy would stop it even so.
    let ran = "(() => { const script = document.createElement('script'); script.textContent = 'window.ran = 1'; document.body.append(script); return window.ran ?? 0; })()";
    assert_eq!(page.ask(ran).await, 0);
    assert!(page.browser.complaints().iter().any(|complaint| complaint.contains("Content Security Policy")));
    page.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn without_scripts_a_field_leads_to_its_folded_cell() {
    let run = sample::run();
    let mut page = Open::at(&run, "", PHONE).await;
    page.without_scripts().await;
    assert_eq!(page.ask("document.getElementById('filters').checkVisibility()").await, false);
    let cell = "access/load-balancer-pending/testpod/clusterip-short";
    let visible = format!("document.getElementById('{cell}').checkVisibility({{ contentVisibilityAuto: true }})");
    assert_eq!(page.ask(&visible).await, false);
    page.click(&format!(".matrix a[href='#{cell}']")).await;
    assert_eq!(page.ask(&visible).await, true);
    page.end().await;
}

/// What a browser makes of a page: its elements, their attributes and texts, but for white space.
const MADE: &str = "document.documentElement.outerHTML.replace(/\\s+/g, ' ').replace(/ (<)|(>) /g, '$1$2')";

#[tokio::test]
#[ignore = "needs Chromium"]
async fn the_page_is_short_and_a_browser_makes_the_same_of_it() {
    let run = sample::run();
    let mut open = Open::at(&run, "", DESK).await;
    open.without_scripts().await;
    let short = open.ask(MADE).await;
    fs::write(open.file(), page(&run)).unwrap();
    open.go("").await;
    assert_eq!(open.ask(MADE).await, short);
    assert!(short.as_str().unwrap().len() > 50_000);
    open.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn five_hundred_cells_open_and_are_chosen_from_within_200_ms() {
    let run = sample::of_all_suites(500);
    let size = html(&run).len();
    let mut page = Open::at(&run, "", DESK).await;
    // What the page itself needs is what its thread computes: the clock on the wall counts whatever else the machine does.
    page.browser.call("Performance.enable", json!({ "timeDomain": "threadTicks" })).await.unwrap();
    let (mut open, mut filter, mut show) = ((f64::MAX, f64::MAX), (f64::MAX, f64::MAX), (f64::MAX, f64::MAX));
    let choose = |value: &str| {
        format!(
            "const select = document.querySelector('select[name=vantage]'); select.value = '{value}'; \
             select.dispatchEvent(new Event('change', {{ bubbles: true }}))"
        )
    };
    let count = "document.getElementById('count').textContent";
    for _ in 0..5 {
        let before = page.computed().await;
        page.go("").await;
        page.ask("document.body.getBoundingClientRect().height").await;
        let wall = page.ask("performance.getEntriesByType('navigation')[0].loadEventStart").await;
        // A page that was just opened counts from nothing.
        let computed = page.computed().await;
        open = least(open, (wall.as_f64().unwrap(), if computed > before { computed - before } else { computed }));
        filter = least(filter, page.timed(&choose("laptop")).await);
        assert!(!page.ask(count).await.as_str().unwrap().starts_with("500 of"));
        page.timed(&choose("")).await;
        assert_eq!(page.ask(count).await, "500 of 500 cells");
        show = least(show, page.timed("document.querySelector('.matrix a').click()").await);
        assert_eq!(page.ask(OPEN).await, true);
    }
    page.keep("five-hundred").await;
    for (what, (wall, computed)) in [("open", open), ("filter", filter), ("open a cell", show)] {
        println!("500 cells in {size} bytes: {what} {wall:.0} ms, of which the page computes {computed:.0} ms");
        assert!(computed < 200.0, "{what}: {computed} ms");
    }
    page.end().await;
}

/// The shortest of each: whatever else the machine does only adds to it.
fn least(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0.min(b.0), a.1.min(b.1))
}
