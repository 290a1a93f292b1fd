#!/usr/bin/env bash
# A kind cluster with Argo CD in it, for `make test-cluster`; README.md beside this.
set -euo pipefail

name=oms-cluster-test
argocd=${ARGOCD_VERSION:-v3.5.1}
hooks=${HOOKS_IMAGE:-argocd-standby-hooks:dev}
mock=${MOCK_IMAGE:-mock-oms:dev}
for tool in docker kind kubectl; do
  command -v "$tool" >/dev/null || { echo "$tool is missing" >&2; exit 1; }
done

# What make image built, under a tag that no node tries to pull anew.
[ -n "${HOOKS_IMAGE:-}" ] || docker tag argocd-standby-hooks "$hooks"
[ -n "${MOCK_IMAGE:-}" ] || docker tag mock-oms "$mock"

kind get clusters | grep -qx "$name" || kind create cluster --name "$name" --wait 3m
kubectl config use-context "kind-$name"
# There is no registry: the nodes are given the images.
kind load docker-image --name "$name" "$hooks" "$mock"

kubectl get namespace argocd >/dev/null 2>&1 || kubectl create namespace argocd
# Controller, repo-server and redis are enough. Server-side, since a CRD is too large for the annotation of the other way.
kubectl apply -n argocd --server-side --force-conflicts \
  -f "https://raw.githubusercontent.com/argoproj/argo-cd/$argocd/manifests/core-install.yaml"
kubectl -n argocd rollout status --timeout=5m deployment/argocd-repo-server deployment/argocd-redis
kubectl -n argocd rollout status --timeout=5m statefulset/argocd-application-controller

echo "export HOOKS_IMAGE=$hooks MOCK_IMAGE=$mock"
