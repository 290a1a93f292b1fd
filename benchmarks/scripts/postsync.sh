#!/bin/sh
# What postsync-verify replaces: look every 5 s, 60 times. It returns nothing to active.
for _ in $(seq 60); do
  if curl -sf "$OMS_URL/health/deep" |
    jq -e '.status == "healthy" and .exchange_connections == "all_connected"'; then
    echo "OMS is healthy"
    exit 0
  fi
  sleep 5
done
echo "OMS did not become healthy"
exit 1
