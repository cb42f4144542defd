//! What every workflow and the action have to keep to, beside what actionlint and zizmor look at.

use std::{collections::BTreeMap, fs};

use super::script::{FILES, all, find, read, root, steps};

const WORKFLOWS: [&str; 2] = [FILES[1], FILES[2]];

#[test]
fn every_workflow_and_action_is_one_of_those_that_are_tested() {
    let mut found: Vec<String> = fs::read_dir(root().join(".github/workflows"))
        .unwrap()
        .map(|entry| format!(".github/workflows/{}", entry.unwrap().file_name().to_string_lossy()))
        .collect();
    found.sort();
    assert_eq!(found, WORKFLOWS);
    assert!(!root().join(".github/actions").exists());
}

#[test]
fn no_script_has_an_expression_in_it() {
    for script in all() {
        assert!(!script.text.contains("${{"), "{}", script.place);
    }
}

#[test]
fn every_action_is_pinned_by_its_commit_and_says_which_version_that_is() {
    let mut pins: BTreeMap<String, String> = BTreeMap::new();
    for file in FILES {
        let text = fs::read_to_string(root().join(file)).unwrap();
        for line in text.lines().filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix("uses: ")) {
            if line.starts_with("./ ") {
                continue;
            }
            let (action, version) = line.split_once(" # v").unwrap_or_else(|| panic!("{file}: {line}"));
            let (name, commit) = action.split_once('@').unwrap();
            assert!(commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{file}: {line}");
            let pin = format!("{commit} {version}");
            assert_eq!(pins.entry(name.to_owned()).or_insert_with(|| pin.clone()), &pin, "{name} at two versions");
        }
    }
    assert!(pins.contains_key("actions/checkout"));
}

#[test]
fn no_job_may_do_or_last_more_than_it_needs() {
    for file in WORKFLOWS {
        let workflow = read(file);
        assert_eq!(workflow["permissions"], serde_json::json!({}), "{file}: each job says what it needs");
        assert!(workflow["concurrency"]["group"].is_string(), "{file}");
        assert_eq!(workflow["defaults"]["run"]["shell"], "bash", "{file}: else a pipe's failure is lost");
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            assert!(job["timeout-minutes"].as_u64().is_some_and(|minutes| minutes <= 60), "{file}: {name}");
            for (what, access) in job["permissions"].as_object().unwrap_or_else(|| panic!("{file}: {name}")) {
                assert_eq!((what.as_str(), access.as_str()), ("contents", Some("read")), "{file}: {name}");
            }
        }
        for (job, step) in steps(file) {
            if step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/checkout@")) {
                assert_eq!(step["with"]["persist-credentials"], false, "{file}: {job}");
            }
        }
    }
}

#[test]
fn the_last_job_needs_every_other() {
    for (file, last) in [(WORKFLOWS[0], "ci-ok"), (WORKFLOWS[1], "e2e-ok")] {
        let jobs = read(file)["jobs"].as_object().unwrap().clone();
        let mut needs: Vec<&str> =
            jobs[last]["needs"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        needs.push(last);
        needs.sort_unstable();
        let mut names: Vec<&str> = jobs.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(needs, names, "{file}");
        // Skipped, it would count as passed.
        assert_eq!(jobs[last]["if"], "${{ always() }}", "{file}");
    }
}

#[test]
fn the_action_describes_all_that_it_takes_and_gives() {
    let action = read("action.yml");
    let script = find("action.yml: runs: Run the suites");
    for (name, input) in action["inputs"].as_object().unwrap() {
        assert!(input["description"].as_str().is_some_and(|text| text.ends_with('.')), "{name}");
        assert!(input["default"].is_string(), "{name}: every input is a string, and has a default");
        assert_eq!(
            fs::read_to_string(root().join("action.yml")).unwrap().matches(&format!("inputs.{name} ")).count(),
            1
        );
    }
    for (name, output) in action["outputs"].as_object().unwrap() {
        assert!(output["description"].as_str().is_some_and(|text| text.ends_with('.')), "{name}");
        assert_eq!(output["value"], format!("${{{{ steps.run.outputs.{name} }}}}"));
    }
    for (_, step) in steps("action.yml") {
        assert_eq!(step["shell"], "bash");
    }
    assert!(script.text.contains("output result"));
}
