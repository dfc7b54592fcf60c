# nginx: an upstream and a virtual host <service>.$domain for each service that has endpoints.
# jq -r --arg listen 80 --arg domain example.com -f nginx.jq
"# Written by docker-discover; changes are lost.",
(.services[] | select(any(.endpoints[]; .weight > 0)) |
  "upstream \(.name) {",
  (.endpoints[] | select(.weight > 0) |
    "  server \(if .address | contains(":") then "[\(.address)]" else .address end):\(.port)"
    + " weight=\(.weight)\(if .backup then " backup" else "" end);"),
  "}",
  "server {",
  "  listen \($listen);",
  "  server_name \(.name).\($domain);",
  "  location / {",
  "    proxy_pass http://\(.name);",
  "    proxy_set_header Host $host;",
  "  }",
  "}")
