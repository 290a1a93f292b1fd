#!/bin/sh
# What syncfail-alert replaces: one event, sent once, whatever the answer.
curl -X POST "$PAGERDUTY_EVENTS_URL" \
  -H "Content-Type: application/json" \
  -d '{
    "routing_key": "'"$PAGERDUTY_ROUTING_KEY"'",
    "event_action": "trigger",
    "payload": {"summary": "OMS deployment failed", "source": "argocd", "severity": "critical"}
  }'
