//! DNS as the tutorial has it, and as it is: every command of the tutorial with its exact outcome under each of its
//! Corefiles, and what names resolve to while things change.

mod changing;
mod records;
mod tutorial;

use reachmap::{Result, session::Session};

/// Lets one resolver look every name up in one DNS configuration, and holds each lookup against its prediction.
async fn check_lookups(configuration: &str, resolver: &str) -> Result<()> {
    let group = Session::current()?.check_lookups(configuration, resolver).await?;
    let mismatches: Vec<String> =
        group.mismatches.iter().map(|mismatch| format!("{}\n{}", mismatch.name, mismatch.explanation)).collect();
    assert!(mismatches.is_empty(), "{} of {}:\n\n{}", mismatches.len(), group.lookups, mismatches.join("\n\n"));
    Ok(())
}

const NDOTS1_CLUSTER: &str = "ndots1-cluster";
const NDOTS1_OWN: &str = "ndots1-own";
const NDOTS1_SIX: &str = "ndots1-six";
const NDOTS2_CLUSTER: &str = "ndots2-cluster";
const NDOTS2_OWN: &str = "ndots2-own";
const NDOTS2_SIX: &str = "ndots2-six";
const NDOTS5_CLUSTER: &str = "ndots5-cluster";
const NDOTS5_OWN: &str = "ndots5-own";
const NDOTS5_SIX: &str = "ndots5-six";

const GLIBC: &str = "glibc";
const MUSL: &str = "musl";
const GO: &str = "go";
const HICKORY: &str = "hickory";
const NSLOOKUP: &str = "nslookup";
const DIG: &str = "dig";
const DIG_SEARCH: &str = "dig-search";

/// Every resolver in every configuration, under the Corefile of the module that this stands in.
macro_rules! every_resolver_in_every_configuration {
    () => {
        #[rstest::rstest]
        #[tokio::test]
        async fn goes_as_predicted(
            #[values(
                $crate::NDOTS1_CLUSTER,
                $crate::NDOTS1_OWN,
                $crate::NDOTS1_SIX,
                $crate::NDOTS2_CLUSTER,
                $crate::NDOTS2_OWN,
                $crate::NDOTS2_SIX,
                $crate::NDOTS5_CLUSTER,
                $crate::NDOTS5_OWN,
                $crate::NDOTS5_SIX
            )]
            from: &str,
            #[values(
                $crate::GLIBC,
                $crate::MUSL,
                $crate::GO,
                $crate::HICKORY,
                $crate::NSLOOKUP,
                $crate::DIG,
                $crate::DIG_SEARCH
            )]
            by: &str,
        ) -> reachmap::Result<()> {
            $crate::check_lookups(from, by).await
        }
    };
}

/// The tutorial's last Corefile: the cluster IP, the alias, and `fallthrough`.
mod corefile_fallthrough {
    use reachmap::{Result, report::Holds, session::Session};

    use super::{NSLOOKUP, tutorial};

    every_resolver_in_every_configuration!();

    #[tokio::test]
    async fn records_of_other_types_are_as_it_says() -> Result<()> {
        crate::records::are_as_the_corefile_says().await
    }

    #[tokio::test]
    async fn the_address_has_both_names() -> Result<()> {
        if reachmap_suites::lacks(NSLOOKUP).await? {
            return Ok(());
        }
        let address = tutorial::cluster_ip()?;
        tutorial::nslookup_of_address(address, &[tutorial::NAME, &tutorial::alias()]).await?;
        Session::current()?.beside(
            "two-names",
            "[root@testpod /]# nslookup 10.98.205.55 55.205.98.10.in-addr.arpa name = my-nginx.external.local. 55.205.98.10.in-addr.arpa name = my-nginx.external.local.service-type-test.svc.cluster.local.",
            Holds::Yes,
            "The PTR record comes from the hosts block, which answers before `kubernetes` does: both names, and not the Service’s own.",
        )
    }

    #[tokio::test]
    async fn the_name_is_answered_by_its_alias() -> Result<()> {
        if reachmap_suites::lacks(NSLOOKUP).await? {
            return Ok(());
        }
        tutorial::nslookup(tutorial::NAME, Ok((&tutorial::alias(), tutorial::cluster_ip()?))).await
    }

    #[tokio::test]
    async fn the_absolute_name_is_answered_as_it_is() -> Result<()> {
        if reachmap_suites::lacks(NSLOOKUP).await? {
            return Ok(());
        }
        tutorial::nslookup(&format!("{}.", tutorial::NAME), Ok((tutorial::NAME, tutorial::cluster_ip()?))).await
    }

    #[tokio::test]
    async fn the_service_is_answered_behind_the_hosts_block() -> Result<()> {
        if reachmap_suites::lacks(NSLOOKUP).await? {
            return Ok(());
        }
        tutorial::nslookup(tutorial::SERVICE, Ok((&tutorial::service_fqdn(), tutorial::cluster_ip()?))).await
    }

    #[tokio::test]
    async fn curl_reaches_the_service_by_each_of_its_names() -> Result<()> {
        for name in [tutorial::SERVICE, tutorial::EXTERNAL_SERVICE, tutorial::NAME] {
            tutorial::curl(name, Ok("200")).await?;
        }
        Session::current()?.beside(
            "fallthrough",
            "The fallthrough directive allows other DNS plugins (like kubernetes) to continue processing if the entry isn’t found in hosts firstly",
            Holds::Yes,
            "With it, the made-up name, its ExternalName Service and the Service itself are all reached by curl.",
        )
    }
}

/// The tutorial's second Corefile: a node's address, the name and the alias, without `fallthrough`.
mod corefile_alias {
    use reachmap::{Result, report::Holds, session::Session};

    use super::{NSLOOKUP, tutorial};

    every_resolver_in_every_configuration!();

    #[tokio::test]
    async fn the_address_has_both_names() -> Result<()> {
        if reachmap_suites::lacks(NSLOOKUP).await? {
            return Ok(());
        }
        let address = tutorial::node_address()?;
        tutorial::nslookup_of_address(address, &[tutorial::NAME, &tutorial::alias()]).await
    }

    /// "Now both `my-nginx.external.local` and `my-nginx.external.local.` work!"
    #[tokio::test]
    async fn both_names_work_now() -> Result<()> {
        if reachmap_suites::lacks(NSLOOKUP).await? {
            return Ok(());
        }
        let address = tutorial::node_address()?;
        tutorial::nslookup(tutorial::NAME, Ok((&tutorial::alias(), address))).await?;
        tutorial::nslookup(&format!("{}.", tutorial::NAME), Ok((tutorial::NAME, address))).await?;
        Session::current()?.beside(
            "both-names-work",
            "Now both my-nginx.external.local and my-nginx.external.local. work!",
            Holds::Yes,
            "The search path makes the first one the alias that the hosts block has; the second is asked as it is.",
        )
    }

    #[tokio::test]
    async fn every_service_name_of_the_cluster_is_servfail() -> Result<()> {
        tutorial::every_service_name_is_servfail().await?;
        Session::current()?.beside(
            "what-the-second-corefile-breaks",
            "Can we make lifer easier?",
            Holds::No,
            "For this one name. Every Service name of the cluster is still answered with SERVFAIL.",
        )
    }

    #[tokio::test]
    async fn curl_finds_no_service() -> Result<()> {
        tutorial::curl(tutorial::SERVICE, Err(tutorial::COULD_NOT_RESOLVE)).await
    }
}

/// The tutorial's first Corefile: a node's address and the name alone, without `fallthrough`.
mod corefile_name {
    use reachmap::{Result, report::Holds, session::Session};

    use super::{NSLOOKUP, tutorial};

    every_resolver_in_every_configuration!();

    #[tokio::test]
    async fn the_address_has_one_name() -> Result<()> {
        if reachmap_suites::lacks(NSLOOKUP).await? {
            return Ok(());
        }
        tutorial::nslookup_of_address(tutorial::node_address()?, &[tutorial::NAME]).await
    }

    #[tokio::test]
    async fn the_absolute_name_is_answered() -> Result<()> {
        if reachmap_suites::lacks(NSLOOKUP).await? {
            return Ok(());
        }
        tutorial::nslookup(&format!("{}.", tutorial::NAME), Ok((tutorial::NAME, tutorial::node_address()?))).await
    }

    /// The tutorial's error line, word for word.
    #[tokio::test]
    async fn without_the_dot_nslookup_gives_up_at_the_first_servfail() -> Result<()> {
        if reachmap_suites::lacks(NSLOOKUP).await? {
            return Ok(());
        }
        tutorial::nslookup(tutorial::NAME, Err((&tutorial::alias(), "SERVFAIL"))).await?;
        Session::current()?.beside(
            "without-the-dot",
            "Otherwise, you will hit this: … ** server can't find my-nginx.external.local.service-type-test.svc.cluster.local: SERVFAIL",
            Holds::Yes,
            "nslookup asks for the name in the first domain of the search path, is answered with SERVFAIL, and stops: the line is printed word for word.",
        )
    }

    /// "It's a must for current configuration": of nslookup, and not of programs that ask as glibc does.
    #[tokio::test]
    async fn without_the_dot_glibc_goes_on_and_finds_it() -> Result<()> {
        tutorial::getent(tutorial::NAME, tutorial::node_address()?).await?;
        Session::current()?.beside(
            "the-dot-is-a-must",
            "It’s a must for current configuration",
            Holds::InPart,
            "It is for nslookup. Programs that ask as glibc does go on after the SERVFAIL and find the name without the dot.",
        )
    }

    #[tokio::test]
    async fn the_service_is_not_found_by_nslookup() -> Result<()> {
        if reachmap_suites::lacks(NSLOOKUP).await? {
            return Ok(());
        }
        let first = format!("{}.service-type-test.svc.cluster.local", tutorial::SERVICE);
        tutorial::nslookup(tutorial::SERVICE, Err((&first, "SERVFAIL"))).await
    }

    #[tokio::test]
    async fn every_service_name_of_the_cluster_is_servfail() -> Result<()> {
        tutorial::every_service_name_is_servfail().await?;
        Session::current()?.beside(
            "what-the-first-corefile-breaks",
            "hosts { 172.16.211.12 my-nginx.external.local }",
            Holds::No,
            "Without `fallthrough` every Service name of the cluster is answered with SERVFAIL, kubernetes.default included: `hosts` is responsible for every name and hands none on.",
        )
    }

    #[tokio::test]
    async fn curl_finds_no_service() -> Result<()> {
        tutorial::curl(tutorial::SERVICE, Err(tutorial::COULD_NOT_RESOLVE)).await
    }
}

/// The Corefile as the cluster came with it.
mod corefile_original {
    use reachmap::{Result, report::Holds, session::Session};

    use super::{NSLOOKUP, tutorial};

    every_resolver_in_every_configuration!();

    #[tokio::test]
    async fn records_of_other_types_are_as_it_says() -> Result<()> {
        crate::records::are_as_the_corefile_says().await
    }

    #[tokio::test]
    async fn the_service_is_answered() -> Result<()> {
        if reachmap_suites::lacks(NSLOOKUP).await? {
            return Ok(());
        }
        tutorial::nslookup(tutorial::SERVICE, Ok((&tutorial::service_fqdn(), tutorial::cluster_ip()?))).await
    }

    #[tokio::test]
    async fn curl_reaches_the_service_and_not_the_made_up_name() -> Result<()> {
        tutorial::curl(tutorial::SERVICE, Ok("200")).await?;
        tutorial::curl(tutorial::NAME, Err(tutorial::COULD_NOT_RESOLVE)).await?;
        Session::current()?.beside(
            "manual-dns",
            "I must manually configure DNS resolution for my-nginx.external.local",
            Holds::Yes,
            "With the Corefile as the cluster came with it, nobody knows the name: curl ends with code 6.",
        )
    }
}
