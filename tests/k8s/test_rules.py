"""The manifests keep to every rule, and each rule notices when they no longer do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.k8s import rules
from tests.k8s.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.k8s.rules import Rule
    from tests.k8s.tree import Tree

HOOKS = "k8s/hooks"
APPS = "k8s/gitops/apps"
PROJECTS = "k8s/gitops/projects"
VALUES = "k8s/gitops/argocd/values.yaml"

BROKEN: list[tuple[str, Rule, str, str, str]] = [
    (
        "the hot path is automated again",
        rules.no_hot_path_child_can_sync_by_itself,
        f"{APPS}/oms.yaml",
        "enabled: false",
        "enabled: true",
    ),
    (
        "automated is only left out",
        rules.no_hot_path_child_can_sync_by_itself,
        f"{APPS}/risk-engine.yaml",
        "    automated:\n      enabled: false\n      prune: false\n      selfHeal: false\n",
        "",
    ),
    (
        "a failed sync is retried",
        rules.no_hot_path_child_can_sync_by_itself,
        f"{APPS}/nats-cluster.yaml",
        "limit: 0",
        "limit: 2",
    ),
    (
        "the root leaves a toggle as it is",
        rules.no_hot_path_child_can_sync_by_itself,
        "k8s/gitops/root/application.yaml",
        "selfHeal: true",
        "selfHeal: false",
    ),
    (
        "a window that stops a sync midway",
        rules.no_automated_sync_starts_in_trading_hours,
        f"{PROJECTS}/trading-prod.yaml",
        "      manualSync: true\n",
        "",
    ),
    (
        "a project without a window",
        rules.no_automated_sync_starts_in_trading_hours,
        f"{PROJECTS}/observability.yaml",
        "kind: deny",
        "kind: allow",
    ),
    (
        "pruned without a question",
        rules.what_trades_outlives_a_mistake_in_git,
        f"{APPS}/oms.yaml",
        "Prune=confirm,Delete=confirm",
        "Delete=confirm",
    ),
    (
        "a finalizer on what trades",
        rules.what_trades_outlives_a_mistake_in_git,
        f"{APPS}/oms.yaml",
        "  annotations:\n",
        "  finalizers: [resources-finalizer.argocd.argoproj.io]\n  annotations:\n",
    ),
    (
        "the usual delete policy",
        rules.every_hook_runs_anew_in_each_sync,
        f"{HOOKS}/presync-standby.yaml",
        "hook-delete-policy: BeforeHookCreation",
        "hook-delete-policy: HookSucceeded",
    ),
    (
        "a phase that does not exist",
        rules.every_hook_runs_anew_in_each_sync,
        f"{HOOKS}/syncfail-alert.yaml",
        "hook: SyncFail",
        "hook: SyncFailed",
    ),
    (
        "two hooks in one phase",
        rules.every_hook_has_a_phase_of_its_own,
        f"{HOOKS}/syncfail-alert.yaml",
        "hook: SyncFail",
        "hook: PostSync",
    ),
    (
        "a deadline below the program's",
        rules.every_deadline_fits_its_program,
        f"{HOOKS}/presync-standby.yaml",
        "activeDeadlineSeconds: 180",
        "activeDeadlineSeconds: 80",
    ),
    (
        "a longer time-out and the old deadline",
        rules.every_deadline_fits_its_program,
        f"{HOOKS}/postsync-verify.yaml",
        '              value: "10"\n',
        '              value: "100"\n',
    ),
    (
        "killed while it undoes",
        rules.every_undo_ends_before_the_pod_is_killed,
        f"{HOOKS}/presync-standby.yaml",
        "terminationGracePeriodSeconds: 20",
        "terminationGracePeriodSeconds: 10",
    ),
    (
        "a second pod asks again",
        rules.no_retry_repeats_a_standby,
        f"{HOOKS}/presync-standby.yaml",
        "backoffLimit: 0",
        "backoffLimit: 1",
    ),
    (
        "one pager, and no other if it is killed",
        rules.no_retry_repeats_a_standby,
        f"{HOOKS}/syncfail-alert.yaml",
        "backoffLimit: 3",
        "backoffLimit: 0",
    ),
    (
        "a drained node fails the sync",
        rules.the_exit_code_is_in_argo_cds_message,
        f"{HOOKS}/postsync-verify.yaml",
        "action: Ignore",
        "action: Count",
    ),
    (
        "a sidecar that never ends",
        rules.no_sidecar_keeps_a_hook_running,
        f"{HOOKS}/every-job.yaml",
        '        sidecar.istio.io/inject: "false"\n',
        "",
    ),
    (
        "a hook on a node that is scaled away",
        rules.no_hook_is_evicted_to_save_a_node,
        f"{HOOKS}/every-job.yaml",
        'safe-to-evict: "false"',
        'safe-to-evict: "true"',
    ),
    (
        "on-call's pod falls behind the hooks'",
        rules.what_on_call_starts_is_what_the_hooks_are,
        f"{HOOKS}/every-cronjob.yaml",
        "ndots",
        "edns0",
    ),
    (
        "on-call's CronJob starts by itself",
        rules.what_on_call_starts_is_what_the_hooks_are,
        f"{HOOKS}/return-to-active.yaml",
        "suspend: true",
        "suspend: false",
    ),
    (
        "a token in the environment",
        rules.every_secret_is_a_file,
        f"{HOOKS}/every-job.yaml",
        "          env:\n",
        "          envFrom:\n            - secretRef:\n                name: oms-hooks\n          env:\n",
    ),
    (
        "a key written down",
        rules.every_secret_is_a_file,
        "k8s/watchdog/watchdog.yaml",
        "          env:\n",
        "          env:\n            - name: PAGERDUTY_ROUTING_KEY\n              value: made-up\n",
    ),
    (
        "root",
        rules.nothing_runs_as_root,
        "k8s/oms/nats.yaml",
        "runAsNonRoot: true",
        "runAsNonRoot: false",
    ),
    (
        "a root that can be written",
        rules.nothing_runs_as_root,
        f"{HOOKS}/every-job.yaml",
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
    ),
    (
        "a CPU limit",
        rules.no_pod_has_more_than_it_needs,
        f"{HOOKS}/every-job.yaml",
        "            limits:\n",
        "            limits:\n              cpu: 100m\n",
    ),
    (
        "a token for a hook that needs none",
        rules.no_pod_has_more_than_it_needs,
        f"{HOOKS}/presync-standby.yaml",
        "automountServiceAccountToken: false",
        "automountServiceAccountToken: true",
    ),
    (
        "the pager's token is taken away for all",
        rules.no_pod_has_more_than_it_needs,
        f"{HOOKS}/every-job.yaml",
        "      restartPolicy: Never\n",
        "      restartPolicy: Never\n      automountServiceAccountToken: false\n",
    ),
    (
        "every Application can be read",
        rules.syncfail_alert_reads_its_application_and_nothing_else,
        "k8s/hooks-base/read-application.yaml",
        "    resourceNames: [oms]\n",
        "",
    ),
    (
        "the account of another application",
        rules.syncfail_alert_reads_its_application_and_nothing_else,
        "k8s/risk-engine/hooks/kustomization.yaml",
        "value: syncfail-alert-risk-engine",
        "value: syncfail-alert",
    ),
    (
        "latest",
        rules.every_image_stays_what_it_is,
        "k8s/oms/nats.yaml",
        "nats:2.14.0-alpine",
        "nats:latest",
    ),
    (
        "our image by tag",
        rules.every_image_stays_what_it_is,
        "k8s/image/kustomization.yaml",
        f"digest: sha256:{'0' * 64}",
        "newTag: 0.1.0",
    ),
    (
        "a range of chart versions",
        rules.every_image_stays_what_it_is,
        f"{APPS}/harbor.yaml",
        "targetRevision: 1.19.1",
        "targetRevision: 1.19.*",
    ),
    (
        "the platform may deploy into trading",
        rules.nothing_outside_trading_prod_may_deploy_into_trading,
        f"{PROJECTS}/platform.yaml",
        "namespace: harbor",
        "namespace: t*",
    ),
    (
        "an Application in a chart",
        rules.no_project_leads_out_of_itself,
        f"{PROJECTS}/platform.yaml",
        "      kind: Application\n",
        "      kind: Applications\n",
    ),
    (
        "any repository",
        rules.no_project_leads_out_of_itself,
        f"{PROJECTS}/trading-prod.yaml",
        "https://nats-io.github.io/k8s/helm/charts",
        "'*'",
    ),
    (
        "a role that may change what is deployed",
        rules.no_role_may_roll_back_or_change_an_application,
        f"{PROJECTS}/trading-prod.yaml",
        "deployer, applications, sync,",
        "deployer, applications, override,",
    ),
    (
        "no Jobs in the project",
        rules.every_project_permits_what_its_applications_bring,
        f"{PROJECTS}/trading-prod.yaml",
        "    - group: batch\n      kind: Job\n",
        "",
    ),
    (
        "a namespace that the project does not know",
        rules.every_project_permits_what_its_applications_bring,
        "k8s/oms/nats.yaml",
        "namespace: trading",
        "namespace: nats",
    ),
    (
        "two applications with Jobs of one name",
        rules.no_object_belongs_to_two_applications,
        "k8s/risk-engine/hooks/kustomization.yaml",
        "namePrefix: risk-engine-\n",
        "",
    ),
    (
        "the OMS before its NATS",
        rules.the_waves_are_in_order,
        "k8s/oms/nats.yaml",
        'sync-wave: "3"',
        'sync-wave: "6"',
    ),
    (
        "a wave that waits for a manual sync",
        rules.the_waves_are_in_order,
        f"{APPS}/nats-cluster.yaml",
        'sync-wave: "10"',
        'sync-wave: "3"',
    ),
    (
        "Applications before their projects",
        rules.the_waves_are_in_order,
        f"{PROJECTS}/trading-prod.yaml",
        'sync-wave: "-1"',
        'sync-wave: "1"',
    ),
    (
        "the hooks' needs come with the hooks",
        rules.the_waves_are_in_order,
        f"{APPS}/hooks-base.yaml",
        'sync-wave: "4"',
        'sync-wave: "10"',
    ),
    (
        "a Secret that nobody brings before",
        rules.what_presync_needs_is_there_before_it,
        "k8s/hooks-base/secrets.yaml",
        "secretKey: OMS_ADMIN_TOKEN",
        "secretKey: TOKEN",
    ),
    (
        "Jobs in another namespace",
        rules.what_presync_needs_is_there_before_it,
        "k8s/oms/kustomization.yaml",
        "kind: Kustomization\n",
        "kind: Kustomization\nnamespace: trading\n",
    ),
    (
        "a pager that waits for its key",
        rules.a_pager_waits_for_no_secret,
        f"{HOOKS}/syncfail-alert.yaml",
        "                  optional: true\n",
        "",
    ),
    (
        "a path from the root without its slash",
        rules.an_edit_is_seen_wherever_it_is_made,
        f"{APPS}/oms.yaml",
        "manifest-generate-paths: .;/k8s/hooks",
        "manifest-generate-paths: .;k8s/hooks",
    ),
    (
        "a path that leaves the image out",
        rules.an_edit_is_seen_wherever_it_is_made,
        f"{APPS}/watchdog.yaml",
        "manifest-generate-paths: .;/k8s/image",
        "manifest-generate-paths: .",
    ),
    (
        "a difference that the next sync overwrites",
        rules.differences_are_ignored_no_wider_than_needed,
        f"{APPS}/kyverno.yaml",
        "      - RespectIgnoreDifferences=true\n",
        "",
    ),
    (
        "every rule of every ClusterRole",
        rules.differences_are_ignored_no_wider_than_needed,
        f"{APPS}/kyverno.yaml",
        "select(.aggregationRule) | .rules",
        ".rules",
    ),
    (
        "a platform child by hand",
        rules.the_other_children_sync_by_themselves,
        f"{APPS}/cert-manager.yaml",
        "selfHeal: true",
        "selfHeal: false",
    ),
    (
        "a namespace that nobody makes",
        rules.the_other_children_sync_by_themselves,
        f"{APPS}/harbor.yaml",
        "CreateNamespace=true",
        "FailOnSharedResource=true",
    ),
    (
        "a variable that no command reads",
        rules.every_variable_is_read_and_accepted,
        f"{HOOKS}/presync-standby.yaml",
        "name: STANDBY_IF_FOREIGN",
        "name: STANDBY_IF_OTHER",
    ),
    (
        "a value that no command takes",
        rules.every_variable_is_read_and_accepted,
        f"{HOOKS}/presync-standby.yaml",
        "value: wait",
        "value: queue",
    ),
    (
        "an expression that does not compile",
        rules.every_variable_is_read_and_accepted,
        f"{HOOKS}/postsync-verify.yaml",
        'split("@")[0])',
        'split("@")[0]',
    ),
    (
        "two applications under one name",
        rules.every_standby_names_its_application,
        "k8s/risk-engine/hooks/kustomization.yaml",
        "value: argocd-sync/risk-engine",
        "value: argocd-sync/oms",
    ),
    (
        "another application's standby is taken over",
        rules.every_standby_names_its_application,
        f"{HOOKS}/presync-standby.yaml",
        "value: wait",
        "value: proceed",
    ),
    (
        "a watchdog that knows one application",
        rules.every_standby_names_its_application,
        "k8s/watchdog/watchdog.yaml",
        "value: argocd-sync\n",
        "value: argocd-sync/oms\n",
    ),
    (
        "one replica more",
        rules.every_replica_is_spoken_to,
        "k8s/oms/oms.yaml",
        "replicas: 3",
        "replicas: 4",
    ),
    (
        "one replica, any",
        rules.every_replica_is_spoken_to,
        f"{HOOKS}/every-job.yaml",
        "http://oms-headless.",
        "http://oms.",
    ),
    (
        "a draining pod leaves the name",
        rules.every_replica_is_spoken_to,
        "k8s/oms/oms.yaml",
        "publishNotReadyAddresses: true",
        "publishNotReadyAddresses: false",
    ),
    (
        "any version will do",
        rules.the_new_version_must_answer,
        f"{HOOKS}/postsync-verify.yaml",
        '\n                and .version == (env.EXPECT_VERSION | split("@")[0])',
        "",
    ),
    (
        "another part of the image's name",
        rules.the_new_version_must_answer,
        "k8s/oms/kustomization.yaml",
        "index: 1\n    targets:\n",
        "index: 0\n    targets:\n",
    ),
    (
        "the first sync for ever",
        rules.absence_is_no_success_after_the_first_sync,
        "k8s/oms/kustomization.yaml",
        "  # - ../hooks/first-sync",
        "  - ../hooks/first-sync",
    ),
    (
        "another Argo CD in the hooks",
        rules.one_incident_is_one_key,
        f"{HOOKS}/every-job.yaml",
        "https://argocd.example.com",
        "https://argo.example.com",
    ),
    (
        "a notification with a key of its own",
        rules.one_incident_is_one_key,
        VALUES,
        'dedupKey: "argocd-sync/',
        'dedupKey: "argocd/',
    ),
    (
        "once per revision",
        rules.every_failed_operation_is_told,
        VALUES,
        "        send: [operation-failed]\n",
        "        oncePer: app.status.sync.revision\n        send: [operation-failed]\n",
    ),
    (
        "a child that nobody subscribed to",
        rules.every_failed_operation_is_told,
        f"{APPS}/oms.yaml",
        "subscribe.on-operation-stuck",
        "subscribe.on-operation-slow",
    ),
    (
        "a time-out in the middle of a roll-out",
        rules.no_sync_that_ends_is_timed_out,
        VALUES,
        'controller.sync.timeout.seconds: "3600"',
        'controller.sync.timeout.seconds: "600"',
    ),
    (
        "no health of Applications",
        rules.waves_wait_for_children,
        VALUES,
        "health.argoproj.io_Application",
        "health.argoproj.io_ApplicationSet",
    ),
    (
        "another port",
        rules.the_network_lets_the_hooks_through,
        "k8s/hooks-base/network-policies.yaml",
        "port: 8080",
        "port: 80",
    ),
    (
        "the OMS lets no hook in",
        rules.the_network_lets_the_hooks_through,
        "k8s/oms/network-policy.yaml",
        "kubernetes.io/metadata.name: oms-hooks",
        "kubernetes.io/metadata.name: trading",
    ),
    (
        "a child in another project",
        rules.the_tree_is_whole,
        f"{APPS}/harbor.yaml",
        "project: platform",
        "project: default",
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_manifests_keep_to(shipped: Tree, rule: Rule) -> None:
    """What is shipped has no fault."""
    assert list(rule(shipped)) == []


@pytest.mark.parametrize(
    ("rule", "path", "old", "new"),
    [pytest.param(rule, *edit, id=f"{rule.__name__}-{what}") for what, rule, *edit in BROKEN],
)
def test_a_broken_copy_is_found_out(
    changed: Callable[[str, str, str], Tree], rule: Rule, path: str, old: str, new: str
) -> None:
    """Each rule says so when the one thing that it protects is taken away."""
    assert list(rule(changed(path, old, new)))


def test_each_rule_is_shown_to_fail() -> None:
    """A rule that finds nothing in any copy would protect nothing."""
    assert {rule for _, rule, *_ in BROKEN} == set(RULES)
