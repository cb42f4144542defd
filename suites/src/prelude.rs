//! The vantages and access methods of the matrix by the names that tests have them, and the tests over all vantages.

/// Constants whose values are what tests' names say: the id with dashes.
macro_rules! ids {
    ($what:literal: $($name:ident = $id:literal),+ $(,)?) => {
        $(
            #[doc = concat!("The ", $what, " `", $id, "`.")]
            pub const $name: &str = $id;
        )+
    };
}

ids! { "vantage":
    TESTPOD = "testpod",
    TESTPOD_OTHER = "testpod-other",
    WORKER_1 = "worker-1",
    WORKER_2 = "worker-2",
    WORKER_3 = "worker-3",
    WORKER_4 = "worker-4",
    WORKER_5 = "worker-5",
    WORKER_6 = "worker-6",
    WORKER_7 = "worker-7",
    WORKER_8 = "worker-8",
    CONTROL_PLANE = "control-plane",
    LAPTOP = "laptop",
}

ids! { "access method":
    CLUSTERIP_SHORT = "clusterip-short",
    CLUSTERIP_NAMESPACE = "clusterip-namespace",
    CLUSTERIP_SVC = "clusterip-svc",
    CLUSTERIP_FQDN = "clusterip-fqdn",
    CLUSTERIP_ABSOLUTE = "clusterip-absolute",
    CLUSTERIP_ADDRESS = "clusterip-address",
    EXTERNALNAME_SHORT = "externalname-short",
    EXTERNALNAME_NAMESPACE = "externalname-namespace",
    EXTERNALNAME_FQDN = "externalname-fqdn",
    EXTERNAL_DOMAIN = "external-domain",
    EXTERNAL_DOMAIN_ABSOLUTE = "external-domain-absolute",
    POD_IP = "pod-ip",
    POD_IP_MULTIPLE = "pod-ip-multiple",
    NODEPORT_WORKER_1 = "nodeport-worker-1",
    NODEPORT_WORKER_2 = "nodeport-worker-2",
    NODEPORT_WORKER_3 = "nodeport-worker-3",
    NODEPORT_WORKER_4 = "nodeport-worker-4",
    NODEPORT_WORKER_5 = "nodeport-worker-5",
    NODEPORT_WORKER_6 = "nodeport-worker-6",
    NODEPORT_WORKER_7 = "nodeport-worker-7",
    NODEPORT_WORKER_8 = "nodeport-worker-8",
    NODEPORT_CONTROL_PLANE = "nodeport-control-plane",
    NODEPORT_NAME = "nodeport-name",
    LOADBALANCER_ADDRESS = "loadbalancer-address",
    LOADBALANCER_NAME = "loadbalancer-name",
    HEADLESS_SHORT = "headless-short",
    HEADLESS_FQDN = "headless-fqdn",
}

/// The tests `reaches` of a stage: `$check` from every vantage of a cluster with up to eight workers, by each of these
/// methods. All of them must be in scope by their names here, which the tests' names have.
#[macro_export]
macro_rules! from_everywhere {
    ($check:path, by: $($by:ident),+ $(,)?) => {
        #[rstest::rstest]
        #[tokio::test]
        async fn reaches(
            #[values(
                TESTPOD,
                TESTPOD_OTHER,
                WORKER_1,
                WORKER_2,
                WORKER_3,
                WORKER_4,
                WORKER_5,
                WORKER_6,
                WORKER_7,
                WORKER_8,
                CONTROL_PLANE,
                LAPTOP
            )]
            from: &str,
            #[values($($by),+)] by: &str,
        ) -> reachmap::Result<()> {
            $check(from, by).await
        }
    };
}
