"""What the manifests must keep to, as functions from a tree to its faults; each is named for what it protects."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from hooks import settings
from hooks.paging.incident import dedup_key
from rehearsal.manifests import Manifest
from tests.k8s.tree import (
    GIT,
    HOOK,
    HOT_PATH,
    Tree,
    annotation,
    containers,
    hooks,
    job_spec,
    label,
    of_kind,
    on_call_jobs,
    pod_spec,
    runs_our_image,
    sources,
    standby_hooks,
    the,
    variables,
    wave,
)

Rule = Callable[[Tree], Iterator[str]]

KINDS: Mapping[str, type[settings.Logging]] = {
    "presync-standby": settings.Standby,
    "postsync-verify": settings.Postsync,
    "syncfail-alert": settings.AlertByPagerDuty,
    "return-to-active": settings.Verification,
    "standby-watchdog": settings.Watch,
}
SECRETS = {
    "OMS_ADMIN_TOKEN": "made-up",
    "PAGERDUTY_ROUTING_KEY": "0" * 32,
    "ALERT_FALLBACK_URL": "http://made.up",
}
# A pod is scheduled, its image pulled, its volumes mounted.
STARTING_SECONDS = 60
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    RULES.append(function)
    return function


# What trades is synced by a person.


@rule
def no_hot_path_child_can_sync_by_itself(tree: Tree) -> Iterator[str]:
    for name in sorted(HOT_PATH):
        policy = tree.children()[name]["spec"]["syncPolicy"]
        if policy.get("automated") != {"enabled": False, "prune": False, "selfHeal": False}:
            yield f"{name}: automated is not spelled out as off"
        if policy.get("retry") != {"limit": 0}:
            yield f"{name}: a failed sync is begun again"
        if tree.children()[name]["spec"]["project"] != "trading-prod":
            yield f"{name}: is not in trading-prod, whose sync window would hold it"
    if not tree.root_application()["spec"]["syncPolicy"]["automated"].get("selfHeal"):
        yield "root: auto-sync that somebody switched on stays on"


@rule
def no_automated_sync_starts_in_trading_hours(tree: Tree) -> Iterator[str]:
    always = {
        "kind": "deny",
        "schedule": "* * * * *",
        "duration": "24h",
        "applications": ["*"],
        "manualSync": True,
    }
    for name, project in tree.projects().items():
        windows = project["spec"].get("syncWindows", [])
        if name == "trading-prod" and windows != [always]:
            yield f"{name}: its one window must deny for ever, and let manual syncs through"
        if not any(window["kind"] == "deny" and window["applications"] == ["*"] for window in windows):
            yield f"{name}: nothing denies automated syncs"
        if not all(window.get("manualSync") for window in windows):
            yield f"{name}: a window stops a manual sync, and may do so between PreSync and PostSync"


@rule
def what_trades_outlives_a_mistake_in_git(tree: Tree) -> Iterator[str]:
    for name in sorted(HOT_PATH):
        child = tree.children()[name]
        if annotation(child, "argocd.argoproj.io/sync-options") != "Prune=confirm,Delete=confirm":
            yield f"{name}: is pruned or deleted without a question"
        if child["metadata"].get("finalizers"):
            yield f"{name}: takes what trades along when it is deleted"
    if tree.root_application()["metadata"].get("finalizers") != ["resources-finalizer.argocd.argoproj.io"]:
        yield "root: leaves its children behind"


# The hooks run, anew, and end.


@rule
def every_hook_runs_anew_in_each_sync(tree: Tree) -> Iterator[str]:
    known = {"PreSync", "Sync", "PostSync", "SyncFail"}
    for name, child in tree.children().items():
        for job in hooks(tree.manifests_of(child)):
            what = f"{name}: {job['metadata']['name']}"
            if annotation(job, "argocd.argoproj.io/hook-delete-policy") != "BeforeHookCreation":
                yield f"{what}: a Job left over would count as this sync's"
            if "generateName" in job["metadata"]:
                yield f"{what}: a retry repeats a generated name"
            if annotation(job, HOOK) not in known:
                yield f"{what}: {annotation(job, HOOK)} is no phase, so that it never runs and nobody is told"


@rule
def every_hook_has_a_phase_of_its_own(tree: Tree) -> Iterator[str]:
    for directory in tree.hook_directories():
        phases = Counter((annotation(job, HOOK), wave(job)) for job in hooks(tree.rendered(directory)))
        yield from (
            f"{directory}: {number} hooks in {phase}" for phase, number in phases.items() if number > 1
        )
        missing = {"PreSync", "PostSync", "SyncFail"} - {phase for phase, _ in phases}
        yield from (f"{directory}: no {phase} hook" for phase in sorted(missing))


@rule
def every_deadline_fits_its_program(tree: Tree) -> Iterator[str]:
    for what, job in _our_jobs(tree):
        spec = job_spec(job)
        least = (
            _seconds(_command(job), _values(job))
            + pod_spec(job)["terminationGracePeriodSeconds"]
            + STARTING_SECONDS
        )
        if spec.get("activeDeadlineSeconds", 0) < least:
            yield f"{what}: activeDeadlineSeconds is below {least:g}"


@rule
def every_undo_ends_before_the_pod_is_killed(tree: Tree) -> Iterator[str]:
    for what, job in _our_jobs(tree):
        undo = float(variables(_container(job)).get("STANDBY_UNDO_SECONDS", "10"))
        if pod_spec(job)["terminationGracePeriodSeconds"] <= undo:
            yield f"{what}: terminationGracePeriodSeconds is not longer than the undo"


@rule
def no_retry_repeats_a_standby(tree: Tree) -> Iterator[str]:
    for what, job in _our_jobs(tree):
        pages = _command(job) == "syncfail-alert"
        if job_spec(job)["backoffLimit"] != (3 if pages else 0):
            yield f"{what}: backoffLimit"
        if pod_spec(job)["restartPolicy"] != "Never":
            yield f"{what}: the kubelet starts it again, whatever backoffLimit says"


@rule
def the_exit_code_is_in_argo_cds_message(tree: Tree) -> Iterator[str]:
    disrupted = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    for what, job in _our_jobs(tree):
        codes = ("In", [2]) if _command(job) == "syncfail-alert" else ("NotIn", [0])
        failed = dict(zip(("containerName", "operator", "values"), ("hook", *codes), strict=True))
        if job_spec(job).get("podFailurePolicy", {}).get("rules") != [
            disrupted,
            {"action": "FailJob", "onExitCodes": failed},
        ]:
            yield f"{what}: podFailurePolicy"


@rule
def no_sidecar_keeps_a_hook_running(tree: Tree) -> Iterator[str]:
    for what, job in _our_jobs(tree):
        metadata = job_spec(job)["template"]["metadata"]
        if metadata.get("labels", {}).get("sidecar.istio.io/inject") != "false":
            yield f"{what}: Istio injects"
        if metadata.get("annotations", {}).get("linkerd.io/inject") != "disabled":
            yield f"{what}: Linkerd injects"


@rule
def no_hook_is_evicted_to_save_a_node(tree: Tree) -> Iterator[str]:
    wanted = {
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    }
    for what, job in _our_jobs(tree):
        if not wanted.items() <= job_spec(job)["template"]["metadata"].get("annotations", {}).items():
            yield f"{what}: may be evicted"


@rule
def what_on_call_starts_is_what_the_hooks_are(tree: Tree) -> Iterator[str]:
    for directory in tree.hook_directories():
        manifests = tree.rendered(directory)
        hook = next(job for job in standby_hooks(manifests) if label(job, "component") == "presync-standby")
        jobs = on_call_jobs(manifests)
        if [_container(job).get("args") for job in jobs] != [None, ["--skip-health"]]:
            yield f"{directory}: on-call has one CronJob that asks for health, and one that does not"
        for job in jobs:
            what = f"{directory}: {job['metadata']['name']}"
            if not job["spec"].get("suspend"):
                yield f"{what}: starts by itself"
            # Argo CD appends the minute to the Job's name.
            if len(job["metadata"]["name"]) > 50:
                yield f"{what}: leaves no room for the name of its Job"
            yield from (f"{what}: {field} is not the hooks'" for field in _differing(job, hook))


def _differing(job: Manifest, hook: Manifest) -> Iterator[str]:
    for field in sorted((pod_spec(job).keys() | pod_spec(hook).keys()) - {"containers"}):
        if pod_spec(job).get(field) != pod_spec(hook).get(field):
            yield field
    ours, theirs = _container(job), _container(hook)
    for field in sorted((ours.keys() | theirs.keys()) - {"args", "command", "env"}):
        if ours.get(field) != theirs.get(field):
            yield field
    shared = variables(ours).keys() & variables(theirs).keys()
    if shared < {"OMS_URL", "OMS_EVERY_POD", "OMS_MIN_TARGETS", "OMS_REASON", "SECRETS_DIR"}:
        yield "env"
    yield from sorted(name for name in shared if variables(ours)[name] != variables(theirs)[name])
    labels = job_spec(job)["template"]["metadata"]["labels"]
    if {**labels, "app.kubernetes.io/component": ""} != {
        **job_spec(hook)["template"]["metadata"]["labels"],
        "app.kubernetes.io/component": "",
    }:
        yield "labels"


# What a pod may do.


@rule
def every_secret_is_a_file(tree: Tree) -> Iterator[str]:
    for what, template in tree.all_pods():
        for container in containers(template):
            if container.get("envFrom") or any(
                "secretKeyRef" in entry.get("valueFrom", {}) for entry in container.get("env", [])
            ):
                yield f"{what}: a Secret is environment"
            yield from (
                f"{what}: {name} is written down" for name in variables(container).keys() & SECRETS.keys()
            )


@rule
def nothing_runs_as_root(tree: Tree) -> Iterator[str]:
    for what, template in tree.all_pods():
        pod = template["spec"].get("securityContext", {})
        if not pod.get("runAsNonRoot") or not pod.get("runAsUser"):
            yield f"{what}: runs as root"
        if pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{what}: seccompProfile"
        if template["spec"].keys() & {"hostNetwork", "hostPID", "hostIPC"}:
            yield f"{what}: shares a namespace with its node"
        for container in containers(template):
            if container.get("securityContext") != {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }:
                yield f"{what}: securityContext of {container['name']}"


@rule
def no_pod_has_more_than_it_needs(tree: Tree) -> Iterator[str]:
    for what, template in tree.all_pods():
        if template["spec"].get("enableServiceLinks", True):
            yield f"{what}: every Service of its namespace is environment"
        token = template["spec"].get("automountServiceAccountToken", True)
        if token != any(container.get("command") == ["syncfail-alert"] for container in containers(template)):
            yield f"{what}: token of the Kubernetes API"
        for container in containers(template):
            resources = container.get("resources", {})
            if resources.get("requests", {}).keys() != {"cpu", "memory"} or resources.get(
                "limits", {}
            ).keys() != {"memory"}:
                yield f"{what}: requests, a memory limit and no CPU limit"


@rule
def syncfail_alert_reads_its_application_and_nothing_else(tree: Tree) -> Iterator[str]:
    base = tree.rendered("k8s/hooks-base")
    roles = {role["metadata"]["name"]: role for role in of_kind(base, "Role")}
    for name, role in roles.items():
        application = name.removeprefix("read-application-")
        if role["rules"] != [
            {
                "apiGroups": ["argoproj.io"],
                "resources": ["applications"],
                "resourceNames": [application],
                "verbs": ["get"],
            }
        ]:
            yield f"{name}: more than `get` of {application}"
    granted = {
        (subject["namespace"], subject["name"]): binding["roleRef"]["name"].removeprefix("read-application-")
        for binding in of_kind(base, "RoleBinding")
        for subject in binding["subjects"]
    }
    for name, job in _hooks_by_application(tree, "syncfail-alert"):
        account = (job["metadata"]["namespace"], pod_spec(job)["serviceAccountName"])
        if granted.get(account) != name:
            yield f"{name}: syncfail-alert may read {granted.get(account)}"
    if of_kind(base, "ClusterRole") or of_kind(base, "ClusterRoleBinding"):
        yield "a role in the whole cluster"


@rule
def every_image_stays_what_it_is(tree: Tree) -> Iterator[str]:
    for what, template in tree.all_pods():
        for container in containers(template):
            image = container["image"]
            tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
            if "@sha256:" not in image and tag in {"", "latest"}:
                yield f"{what}: {image} may be another one tomorrow"
            if runs_our_image(container) and not re.fullmatch(
                r"\S+/argocd-standby-hooks@sha256:[0-9a-f]{64}", image
            ):
                yield f"{what}: {image} is not by digest"
    for name, child in tree.children().items():
        for source in sources(child):
            if "chart" in source and not re.fullmatch(r"v?\d+\.\d+\.\d+", source["targetRevision"]):
                yield f"{name}: {source['targetRevision']} is not one version"


# Who may deploy what where, and when.


@rule
def nothing_outside_trading_prod_may_deploy_into_trading(tree: Tree) -> Iterator[str]:
    for name, project in tree.projects().items():
        for destination in project["spec"]["destinations"]:
            may = fnmatchcase("trading", destination["namespace"])
            if may and name != "trading-prod":
                yield f"{name}: may deploy into trading"
            if destination["server"] != "https://kubernetes.default.svc":
                yield f"{name}: may deploy into {destination['server']}"
        if name == "trading-prod" and {at["namespace"] for at in project["spec"]["destinations"]} != {
            "trading",
            "oms-hooks",
        }:
            yield f"{name}: may deploy elsewhere"


@rule
def no_project_leads_out_of_itself(tree: Tree) -> Iterator[str]:
    for name, project in tree.projects().items():
        spec = project["spec"]
        for kind in ("Application", "AppProject", "ApplicationSet"):
            if name != "root" and _may_write(spec, "argoproj.io", kind):
                yield f"{name}: may write an {kind}, of any project"
        if name == "root" and (
            spec["clusterResourceWhitelist"]
            or {entry["kind"] for entry in spec["namespaceResourceWhitelist"]}
            != {"Application", "AppProject"}
        ):
            yield "root: may write more than Applications and their projects"
        for listed in ("sourceRepos",):
            yield from (f"{name}: {entry} is every one" for entry in spec[listed] if "*" in entry)
        yield from (
            f"{name}: {kind['kind']} is every kind"
            for kind in spec.get("clusterResourceWhitelist", [])
            if "*" in kind["kind"]
        )


@rule
def no_role_may_roll_back_or_change_an_application(tree: Tree) -> Iterator[str]:
    allowed = {"get", "sync", "action/batch/Job/terminate", "action/batch/CronJob/create-job"}
    for name, project in tree.projects().items():
        for role in project["spec"].get("roles", []):
            for policy in role["policies"]:
                _, subject, resource, action, scope, effect = [part.strip() for part in policy.split(",")]
                what = f"{name}, {role['name']}: {policy}"
                if subject != f"proj:{name}:{role['name']}" or scope != f"{name}/*":
                    yield f"{what}: reaches out of its project"
                if (resource, action, effect) != ("logs", "get", "allow") and action not in allowed:
                    yield f"{what}: {action}"


@rule
def every_project_permits_what_its_applications_bring(tree: Tree) -> Iterator[str]:
    for name, application in tree.applications().items():
        project = tree.projects()[application["spec"]["project"]]["spec"]
        for source in sources(application):
            if source["repoURL"] not in project["sourceRepos"]:
                yield f"{name}: {source['repoURL']} is no source of {application['spec']['project']}"
        for manifest in tree.manifests_of(application):
            what = f"{name}: {manifest['kind']} {manifest['metadata']['name']}"
            group = manifest["apiVersion"].rpartition("/")[0]
            namespace = manifest["metadata"].get("namespace")
            if namespace is None:
                if {"group": group, "kind": manifest["kind"]} not in project["clusterResourceWhitelist"]:
                    yield f"{what}: is no cluster-wide kind of the project"
            elif not any(fnmatchcase(namespace, at["namespace"]) for at in project["destinations"]):
                yield f"{what}: {namespace} is no destination of the project"
            elif not _may_write(project, group, manifest["kind"]):
                yield f"{what}: is no kind of the project"


@rule
def no_object_belongs_to_two_applications(tree: Tree) -> Iterator[str]:
    owned = Counter(
        (
            manifest["apiVersion"],
            manifest["kind"],
            manifest["metadata"].get("namespace"),
            manifest["metadata"]["name"],
        )
        for application in tree.applications().values()
        for manifest in tree.manifests_of(application)
    )
    yield from (
        f"{kind} {name} in {namespace}" for (_, kind, namespace, name), times in owned.items() if times > 1
    )


@rule
def the_waves_are_in_order(tree: Tree) -> Iterator[str]:
    oms = tree.rendered("k8s/oms")
    order = [
        ("Namespace", "trading"),
        ("SecretStore", "vault"),
        ("ExternalSecret", "oms"),
        ("StatefulSet", "oms-nats"),
        ("Job", "oms-migration"),
        ("Deployment", "oms"),
    ]
    waves = [wave(the(oms, kind, name)) for kind, name in order]
    if waves != list(range(6)):
        yield f"k8s/oms: {waves}"
    children = {name: wave(child) for name, child in tree.children().items()}
    last = max(children.values())
    if {name for name, at in children.items() if at == last} != HOT_PATH:
        yield "k8s/gitops: the hot path, and nothing else, is the last wave, for which nothing waits"
    if max(wave(project) for name, project in tree.projects().items() if name != "root") >= min(
        children.values()
    ):
        yield "k8s/gitops: a project comes after an Application"
    for earlier, later in [
        *pairwise(("external-secrets", "hooks-base", "oms")),
        ("prometheus", "watchdog"),
        ("cert-manager", "prometheus"),
        ("hooks-base", "watchdog"),
    ]:
        if children[earlier] >= children[later]:
            yield f"k8s/gitops: {earlier} does not come before {later}"


@rule
def what_presync_needs_is_there_before_it(tree: Tree) -> Iterator[str]:
    base = tree.rendered("k8s/hooks-base")
    secrets = {
        item["spec"]["target"]["name"]: {data["secretKey"] for data in item["spec"]["data"]}
        for item in of_kind(base, "ExternalSecret")
    }
    accounts = {account["metadata"]["name"] for account in of_kind(base, "ServiceAccount")} | {"default"}
    for what, job in _our_jobs(tree):
        if what.startswith("k8s/rollouts"):
            continue
        if job["metadata"]["namespace"] != the(base, "Namespace", "oms-hooks")["metadata"]["name"]:
            yield f"{what}: runs where nothing is prepared"
        if pod_spec(job).get("serviceAccountName", "default") not in accounts:
            yield f"{what}: its ServiceAccount comes with no earlier Application"
        for secret in _secrets(pod_spec(job)):
            if not {item["key"] for item in secret["items"]} <= secrets.get(secret["name"], set()):
                yield f"{what}: Secret {secret['name']} comes with no earlier Application"


@rule
def a_pager_waits_for_no_secret(tree: Tree) -> Iterator[str]:
    for what, job in _our_jobs(tree):
        for secret in _secrets(pod_spec(job)):
            if _command(job) == "syncfail-alert" and not secret.get("optional"):
                yield f"{what}: waits for {secret['name']} for ever, and tells nobody"


@rule
def an_edit_is_seen_wherever_it_is_made(tree: Tree) -> Iterator[str]:
    for name, application in tree.applications().items():
        for source in sources(application):
            if source["repoURL"] != GIT:
                continue
            listed = annotation(application, "argocd.argoproj.io/manifest-generate-paths").split(";")
            # Relative to the source's own path, unless it begins with a slash.
            seen = [os.path.normpath(os.path.join("/", source["path"], path)) for path in listed]  # noqa: PTH118
            for path in sorted(tree.files_of(source["path"])):
                if not any(Path("/", path).is_relative_to(at) for at in seen):
                    yield f"{name}: {path} changes, and the old manifests are taken from the cache"


@rule
def differences_are_ignored_no_wider_than_needed(tree: Tree) -> Iterator[str]:
    for name, application in tree.applications().items():
        ignored = application["spec"].get("ignoreDifferences", [])
        options = application["spec"]["syncPolicy"].get("syncOptions", [])
        if ignored and "RespectIgnoreDifferences=true" not in options:
            yield f"{name}: a sync writes what is only not shown"
        for entry in ignored:
            if entry.get("jsonPointers") or not entry.get("jqPathExpressions"):
                yield f"{name}: a pointer ignores the field of every {entry['kind']}"
            if any("select(" not in expression for expression in entry.get("jqPathExpressions", [])):
                yield f"{name}: nothing narrows {entry['kind']} down"
            if entry["kind"] in {"Deployment", "StatefulSet", "Secret"}:
                yield f"{name}: what another controller writes into a {entry['kind']} is left out of git instead"


@rule
def the_other_children_sync_by_themselves(tree: Tree) -> Iterator[str]:
    for name, child in tree.children().items():
        if name in HOT_PATH:
            continue
        policy = child["spec"]["syncPolicy"]
        if policy["automated"] != {"enabled": True, "prune": True, "selfHeal": True}:
            yield f"{name}: automated, prune and selfHeal"
        if not 1 <= policy.get("retry", {}).get("limit", -1) <= 5:
            yield f"{name}: retries without a limit, or not at all"
        bring = {manifest["metadata"].get("namespace") for manifest in tree.manifests_of(child)} - {None}
        if not bring and "CreateNamespace=true" not in policy["syncOptions"]:
            yield f"{name}: nobody makes its namespace"


# The manifests say what the commands read.


@rule
def every_variable_is_read_and_accepted(tree: Tree) -> Iterator[str]:
    known = {field.upper() for kind in KINDS.values() for field in kind.model_fields}
    for what, template in tree.all_pods():
        for container in filter(runs_our_image, containers(template)):
            # An expression reads `env.NAME`.
            read = known | set(re.findall(r"env\.(\w+)", " ".join(variables(container).values())))
            yield from (
                f"{what}: nothing reads {entry['name']}"
                for entry in container["env"]
                if entry["name"] not in read
            )
            kind = KINDS[container["command"][0]]
            try:
                with _environment(template["spec"], container):
                    settings.load(kind)
            except settings.MisconfiguredError as error:
                yield f"{what}: {error}"


@rule
def every_standby_names_its_application(tree: Tree) -> Iterator[str]:
    for name, job in [
        *_hooks_by_application(tree, "presync-standby"),
        *_hooks_by_application(tree, "postsync-verify"),
        *_hooks_by_application(tree, "syncfail-alert"),
        *_hooks_by_application(tree, "return-to-active"),
    ]:
        given = variables(_container(job))
        if given["OMS_REASON"] != f"argocd-sync/{name}":
            yield f"{name}: {job['metadata']['name']} owns a standby as {given['OMS_REASON']}"
        if given.get("ARGOCD_APP_NAME", name) != name:
            yield f"{name}: {job['metadata']['name']} pages for {given['ARGOCD_APP_NAME']}"
        if (
            job["kind"] == "Job"
            and label(job, "component") == "presync-standby"
            and given.get("STANDBY_IF_FOREIGN") != "wait"
        ):
            yield f"{name}: two syncs at a time take the OMS from each other"
    watched = variables(
        containers(the(tree.rendered("k8s/watchdog"), "Deployment", "standby-watchdog")["spec"]["template"])[
            0
        ]
    )
    if watched["OMS_REASON"] != "argocd-sync":
        yield "the watchdog takes another application's standby for an operator's, and pages nobody"


@rule
def every_replica_is_spoken_to(tree: Tree) -> Iterator[str]:
    oms = tree.rendered("k8s/oms")
    replicas = str(the(oms, "Deployment", "oms")["spec"]["replicas"])
    service = the(oms, "Service", "oms-headless")
    if service["spec"].get("clusterIP") != "None" or not service["spec"].get("publishNotReadyAddresses"):
        yield "oms-headless: a draining pod leaves the name while it still trades"
    host = "oms-headless.trading.svc.cluster.local"
    for what, template in tree.all_pods():
        for container in filter(runs_our_image, containers(template)):
            given = variables(container)
            # k8s/hooks by itself is rendered for rehearsals.
            if given["OMS_MIN_TARGETS"] != replicas or given.get("OMS_EVERY_POD") != "true":
                yield f"{what}: takes fewer than {replicas} replicas for all of them"
            if urlsplit(given["OMS_URL"]).hostname != host:
                yield f"{what}: {given['OMS_URL']} is not the name of every replica"


@rule
def the_new_version_must_answer(tree: Tree) -> Iterator[str]:
    oms = tree.rendered("k8s/oms")
    tag = containers(the(oms, "Deployment", "oms")["spec"]["template"])[0]["image"].rpartition(":")[2]
    given = variables(_container(the(oms, "Job", "oms-postsync-verify")))
    if given["EXPECT_VERSION"] != tag:
        yield f"k8s/oms: {given['EXPECT_VERSION']} is expected, {tag} is deployed"
    if ".version == (env.EXPECT_VERSION" not in given["VERIFY_CONDITION"]:
        yield "k8s/oms: an old pod is taken for the new one"
    if given.get("VERIFY_SOAK_SECONDS") != "10":
        yield "k8s/oms: a version that falls over is not noticed"
    for directory in set(tree.hook_directories()) - {"k8s/oms"}:
        for job in standby_hooks(tree.rendered(directory)):
            if "EXPECT_VERSION" in variables(_container(job)):
                yield f"{directory}: waits for a version of the OMS that it does not deploy"


@rule
def absence_is_no_success_after_the_first_sync(tree: Tree) -> Iterator[str]:
    for what, template in tree.all_pods():
        for container in containers(template):
            if "STANDBY_IF_ABSENT" in variables(container):
                yield f"{what}: an OMS that cannot be found is rolled while it trades"


@rule
def one_incident_is_one_key(tree: Tree) -> Iterator[str]:
    values = tree.read("k8s/gitops/argocd/values.yaml")
    url = values["configs"]["cm"]["url"]
    if values["notifications"]["argocdUrl"] != url:
        yield "argocdUrl is not url"
    for name, job in _hooks_by_application(tree, "syncfail-alert"):
        with _environment(pod_spec(job), _container(job)):
            given = settings.load(settings.AlertByPagerDuty)
        if given.argocd_url != url:
            yield f"{name}: links to another Argo CD"
        for template, text in values["notifications"]["templates"].items():
            told = re.search(r'dedupKey: "(.*)"', text)
            if told is None or _as_go_would(told[1], name, url) != dedup_key(given):
                yield f"{name}: {template} opens an incident of its own"


@rule
def every_failed_operation_is_told(tree: Tree) -> Iterator[str]:
    triggers = tree.read("k8s/gitops/argocd/values.yaml")["notifications"]["triggers"]
    if any("oncePer" in text for text in triggers.values()):
        yield "a second failure of the same commit is silent"
    for name in sorted(HOT_PATH):
        for trigger in triggers:
            asked = f"notifications.argoproj.io/subscribe.{trigger.removeprefix('trigger.')}.pagerdutyv2"
            if annotation(tree.children()[name], asked) != "trading":
                yield f"{name}: nobody is told {trigger}"


@rule
def no_sync_that_ends_is_timed_out(tree: Tree) -> Iterator[str]:
    values = tree.read("k8s/gitops/argocd/values.yaml")
    oms = tree.rendered("k8s/oms")
    longest = (
        sum(job["spec"]["activeDeadlineSeconds"] for job in hooks(oms))
        + the(oms, "Deployment", "oms")["spec"]["progressDeadlineSeconds"]
    )
    stuck = re.search(
        r"Minutes\(\) >= (\d+)", values["notifications"]["triggers"]["trigger.on-operation-stuck"]
    )
    timeout = int(values["configs"]["params"]["controller.sync.timeout.seconds"])
    if stuck is None or not longest < int(stuck[1]) * 60 < timeout:
        yield f"a sync may take {longest} s"


@rule
def waves_wait_for_children(tree: Tree) -> Iterator[str]:
    configured = tree.read("k8s/gitops/argocd/values.yaml")["configs"]["cm"]
    if "obj.status.health.status" not in configured.get(
        "resource.customizations.health.argoproj.io_Application", ""
    ):
        yield "an Application that is a resource has no health: every wave of the root is over at once"
    if configured.get("kustomize.buildOptions") != "--enable-helm":
        yield "a kustomization with a chart cannot be rendered"


@rule
def the_network_lets_the_hooks_through(tree: Tree) -> Iterator[str]:
    oms = tree.rendered("k8s/oms")
    template = the(oms, "Deployment", "oms")["spec"]["template"]
    labels, port = template["metadata"]["labels"], containers(template)[0]["ports"][0]["containerPort"]
    ingress = the(oms, "NetworkPolicy", "oms")["spec"]["ingress"][0]
    if not any(
        _selects(peer, "oms-hooks", {"app.kubernetes.io/part-of": "oms-hooks"}) for peer in ingress["from"]
    ):
        yield "k8s/oms lets no hook in"
    for directory, name in (("k8s/hooks-base", "the-oms"), ("k8s/watchdog", "standby-watchdog")):
        policy = the(tree.rendered(directory), "NetworkPolicy", name)["spec"]
        if not any(
            {"protocol": "TCP", "port": port} in allowed["ports"]
            and any(_selects(peer, "trading", labels) for peer in allowed["to"])
            for allowed in policy["egress"]
        ):
            yield f"{directory}: {name} does not let through to the OMS"


@rule
def the_tree_is_whole(tree: Tree) -> Iterator[str]:
    eleven = {
        *HOT_PATH,
        "prometheus",
        "grafana",
        "alertmanager",
        "harbor",
        "cert-manager",
        "external-secrets",
        "kyverno",
        "argo-rollouts",
    }
    if tree.children().keys() != eleven | {"hooks-base", "watchdog"}:
        yield f"children: {sorted(tree.children())}"
    expected = dict.fromkeys(HOT_PATH, "trading-prod") | dict.fromkeys(
        ("prometheus", "grafana", "alertmanager", "watchdog"), "observability"
    )
    for name, child in tree.children().items():
        if child["spec"]["project"] != expected.get(name, "platform"):
            yield f"{name}: is in {child['spec']['project']}"


# What the rules ask.


def _our_jobs(tree: Tree) -> Iterator[tuple[str, Manifest]]:
    for directory in tree.hook_directories():
        for job in [*standby_hooks(tree.rendered(directory)), *on_call_jobs(tree.rendered(directory))]:
            yield f"{directory}: {job['metadata']['name']}", job
    for template in of_kind(tree.rendered("k8s/rollouts"), "AnalysisTemplate"):
        for metric in template["spec"]["metrics"]:
            job = {"kind": "Job", "metadata": template["metadata"], **metric["provider"]["job"]}
            yield f"k8s/rollouts: {metric['name']}", job


def _hooks_by_application(tree: Tree, component: str) -> Iterator[tuple[str, Manifest]]:
    for name, child in tree.children().items():
        manifests = tree.manifests_of(child)
        for job in [*standby_hooks(manifests), *on_call_jobs(manifests)]:
            if label(job, "component") == component:
                yield name, job


def _container(job: Manifest) -> Manifest:
    (container,) = containers(job_spec(job)["template"])
    return container


def _command(job: Manifest) -> str:
    command: str = _container(job)["command"][0]
    return command


def _values(job: Manifest) -> settings.Logging:
    with _environment(pod_spec(job), _container(job)):
        return settings.load(KINDS[_command(job)])


def _seconds(command: str, given: Any) -> float:
    """Return how long the program itself may take, from its settings."""
    match command:
        case "presync-standby":
            return float(given.standby_timeout_seconds + given.standby_undo_seconds)
        case "postsync-verify":
            told = 10
            return float(
                given.verify_timeout_seconds + given.standby_undo_seconds + given.verify_soak_seconds + told
            )
        case "syncfail-alert":
            fallback = 10
            return float(2 * given.alert_gather_seconds + given.alert_timeout_seconds + fallback)
        case _:
            return float(given.verify_timeout_seconds + given.standby_undo_seconds)


@contextmanager
def _environment(pod: Manifest, container: Manifest) -> Iterator[None]:
    """Be in a container's environment: its variables, and made-up secrets in the files that its pod mounts."""
    with tempfile.TemporaryDirectory() as directory:
        for secret in _secrets(pod):
            for item in secret["items"]:
                Path(directory, item["path"]).write_text(SECRETS[item["key"]])
        given = {"HOOK_RUN_ID": "made-up", **variables(container), "SECRETS_DIR": directory}
        with patch.dict(os.environ, given, clear=True):
            yield


def _may_write(project: Manifest, group: str, kind: str) -> bool:
    entry = {"group": group, "kind": kind}
    if entry in project.get("namespaceResourceBlacklist", []):
        return False
    allowed = project.get("namespaceResourceWhitelist")
    return allowed is None or entry in allowed


def _secrets(spec: Manifest) -> Iterator[Manifest]:
    for volume in spec.get("volumes", []):
        for source in volume.get("projected", {}).get("sources", []):
            if "secret" in source:
                yield source["secret"]


def _selects(peer: Manifest, namespace: str, labels: Mapping[str, str]) -> bool:
    at: Mapping[str, str] = peer.get("namespaceSelector", {}).get("matchLabels", {})
    wanted: Mapping[str, str] = peer.get("podSelector", {}).get("matchLabels", {})
    return at == {"kubernetes.io/metadata.name": namespace} and wanted.items() <= labels.items()


def _as_go_would(template: str, name: str, url: str) -> str:
    """Fill in the few expressions that the notification's key consists of."""
    for expression, value in {
        "{{(urlParse .context.argocdUrl).hostname}}": urlsplit(url).hostname or "",
        "{{.app.metadata.namespace}}": "argocd",
        "{{.app.metadata.name}}": name,
    }.items():
        template = template.replace(expression, value)
    return template
