//! The structure of the page, and that no text leaves its place in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{html, page};
use crate::report::{Run, read, sample};

/// What would run a script if it were not only text, wherever in a page it stands.
pub(super) const PLANTED: &str = "</script><img src=x onerror=alert(1)>\"'--><svg/onload=alert(2)>";

/// The run with [`PLANTED`] at the end of every string that may be any text, and in how many kinds of place.
pub(super) fn planted(run: &Run) -> (Run, usize) {
    let mut value = serde_json::to_value(run).unwrap();
    let mut places = Vec::new();
    strings(&value, "", &mut places);
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for place in places {
        let kind = place.split('/').map(|part| if part.parse::<usize>().is_ok() { "*" } else { part });
        kinds.entry(kind.collect::<Vec<_>>().join("/")).or_default().push(place);
    }
    let mut planted = 0;
    for places in kinds.values() {
        let mut changed = value.clone();
        for place in places {
            let text = changed.pointer_mut(place).unwrap();
            *text = format!("{}{PLANTED}", text.as_str().unwrap()).into();
        }
        // Where only some words are allowed, such as the name of a step, no other text can be.
        if serde_json::from_value::<Run>(changed.clone()).is_ok() {
            value = changed;
            planted += 1;
        }
    }
    (serde_json::from_value(value).unwrap(), planted)
}

fn strings(value: &Value, place: &str, places: &mut Vec<String>) {
    match value {
        Value::String(_) => places.push(place.to_owned()),
        Value::Array(all) => {
            for (number, one) in all.iter().enumerate() {
                strings(one, &format!("{place}/{number}"), places);
            }
        }
        Value::Object(all) => {
            for (name, one) in all {
                strings(one, &format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), places);
            }
        }
        _ => {}
    }
}

/// What stands between `before` and the next `"`, each time.
fn values<'p>(page: &'p str, before: &str) -> Vec<&'p str> {
    page.split(before).skip(1).map(|part| part.split('"').next().unwrap()).collect()
}

#[test]
fn it_is_one_page_with_one_script_that_needs_nothing_else() {
    let page = page(&sample::run());
    if let Some(path) = std::env::var_os("REACHMAP_WRITE_SAMPLE") {
        std::fs::write(path, &page).unwrap();
    }
    assert!(page.starts_with("<!doctype html>\n") && page.trim_end().ends_with("</html>"));
    assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (1, 1));
    assert!(!page.contains("http-equiv=\"refresh\"") && !page.contains(" src=") && !page.contains("url("));
    assert!(!page.contains(" style=\""), "the policy would not let it through");
    assert!(!page.contains("{{") && !page.contains("{%"));
}

#[test]
fn whatever_text_is_planted_stays_text() {
    let (run, kinds) = planted(&sample::run());
    assert!(kinds > 80, "planted in {kinds} kinds of place only");
    let page = page(&run);
    assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (1, 1));
    assert!(!page.contains("<img") && !page.contains("<svg/"));
    let shown = page.matches("&lt;img src=x onerror=alert(1)&gt;").count();
    assert!(shown > 200, "shown {shown} times only");
    // A quote that ends an attribute would have been the next worst.
    assert!(!page.contains("alert(1)>\"") && !page.contains("alert(1)&gt;\"'"));
}

#[test]
fn every_place_is_there_once_and_every_link_leads_to_one() {
    let page = page(&sample::run());
    let places = values(&page, " id=\"");
    let unique: BTreeSet<&str> = places.iter().copied().collect();
    assert_eq!(places.len(), unique.len());
    for link in values(&page, "href=\"#") {
        assert!(unique.contains(link), "{link}");
    }
    let run = sample::run();
    let costs = 1;
    let bodies = run.verdicts.len() + run.lookups.len() + costs + run.loads.len() + run.changes.len();
    assert_eq!(page.matches("class=\"body\"").count(), bodies);
    assert_eq!(page.matches(" data-reason=\"").count(), run.verdicts.len(), "every field");
}

#[test]
fn places_tell_names_apart_that_differ_only_in_odd_letters() {
    assert_eq!(super::anchor("load-balancer_ready.1"), "load-balancer_ready.1");
    assert_eq!(super::anchor("a/b?c d"), "a~2f~b~3f~c~20~d");
    assert_ne!(super::anchor("a|b"), super::anchor("a-b"));
    assert_ne!(super::anchor("é"), super::anchor("~e9~"));
}

#[test]
fn a_cell_is_told_step_by_step() {
    let page = page(&sample::run());
    let start = page.find("id=\"access/load-balancer-pending/testpod/clusterip-short\"").unwrap();
    let body = &page[start - 18..start + page[start..].find("</details>").unwrap()];
    insta::assert_snapshot!(body);
}

#[test]
fn facets_count_the_cells_that_have_each_value() {
    let run = sample::run();
    let page = page(&run);
    for facet in ["stage", "vantage", "method", "verdict"] {
        let select = page.split(&format!("<select name=\"{facet}\">")).nth(1).unwrap();
        let options = select.split("</select>").next().unwrap();
        let counts = options.split('(').skip(1).map(|part| part.split(')').next().unwrap().parse::<usize>().unwrap());
        assert_eq!(counts.sum::<usize>(), run.verdicts.len(), "{facet}: {options}");
    }
    assert!(page.contains("<option value=\"wrong\">! not as expected (4)</option>"));
}

#[test]
fn five_hundred_cells_are_well_below_two_megabytes() {
    let page = html(&sample::of_cells(500));
    println!("500 cells: {} bytes", page.len());
    assert_eq!(page.matches("class=body ").count(), 500);
    assert!(page.len() < 1_400_000, "{} bytes", page.len());
}

/// `REACHMAP_REPORT=report.json` tells the size of that run's page, too, and keeps it.
#[test]
fn a_whole_run_has_a_page_well_below_two_megabytes() {
    if let Some(report) = std::env::var_os("REACHMAP_REPORT") {
        let (run, path) = (read(report.as_ref()).unwrap(), std::env::temp_dir().join("reachmap-report.html"));
        std::fs::write(&path, html(&run)).unwrap();
        println!("{} cells: {} bytes, {}", run.verdicts.len(), html(&run).len(), path.display());
    }
    let page = html(&sample::of_all_suites(356));
    println!("356 cells and all the rest: {} bytes", page.len());
    assert!(page.len() < 1_800_000, "{} bytes", page.len());
}
