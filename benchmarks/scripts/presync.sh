#!/bin/sh
# What presync-standby replaces: ask for standby, then look every 2 s, 30 times.
curl -f -X POST "$OMS_URL/admin/mode" \
  -H "Authorization: Bearer $OMS_ADMIN_TOKEN" \
  -H "Content-Type: application/json" \
  -d '{"mode": "standby", "reason": "argocd-sync"}' || exit 1

for _ in $(seq 30); do
  MODE=$(curl -sf "$OMS_URL/health/mode" | jq -r .mode)
  if [ "$MODE" = "standby" ]; then
    echo "OMS is in standby"
    exit 0
  fi
  sleep 2
done
echo "OMS did not reach standby"
exit 1
