//! The results that commands have from elsewhere, in every form.

use std::time::Duration;

use super::forms;
use crate::{
    environment::images::versions::Versions,
    matrix::{Cell, Matrix, Stage},
    model::dns::{Corefile, ResolvConf, Resolver, corefile::KUBEADM},
    plan::{
        ImagesChoice,
        legs::{self, Extent},
    },
    report::{
        dns::{Lookup, walk},
        plan::{Plan, list, table},
    },
    state::State,
};

fn cells() -> Vec<Cell> {
    let all = Matrix::tutorial(1);
    all.into_iter().filter(|cell| cell.stage == Stage::LoadBalancerReady && cell.vantage == "laptop").collect()
}

#[test]
fn cells_and_the_plan_of_a_run() {
    let steps = [("Start the engine".to_owned(), Duration::from_secs(3))];
    insta::assert_snapshot!("e2e-list", forms(&cells(), || list(&cells())));
    insta::assert_snapshot!("e2e-plan", forms(&Plan::new(&cells(), &steps), || table(&cells(), &steps)));
}

#[test]
fn the_legs_of_a_matrix() {
    let mut legs = legs::legs(&Versions::embedded().unwrap(), ImagesChoice::Packages, Extent::Edges).unwrap();
    legs.truncate(2);
    insta::assert_snapshot!("matrix", forms(&legs, String::new));
}

#[test]
fn the_way_of_a_name() {
    let corefile: Corefile = KUBEADM.parse().unwrap();
    let conf = ResolvConf::of_pod("service-type-test", "cluster.local", [10, 96, 0, 10].into());
    let lookup = Lookup { name: "nginx-clusterip-service", conf: &conf, resolver: Resolver::find("musl").unwrap() };
    let walk = walk(&lookup, &corefile, &State::example(), "Corefile: kubeadm's.");
    insta::assert_snapshot!("dns-explain", forms(&walk, || walk.to_string()));
}
