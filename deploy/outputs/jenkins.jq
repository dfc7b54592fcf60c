# HAProxy: a backend of the hosts that say their address at /infrastructure/jenkins/<host>/ip.
"backend jenkins_backend",
"  balance roundrobin",
"  mode http",
"  option httpchk GET /index.html",
(.keys | to_entries[] | select(.key | test("^/infrastructure/jenkins/[A-Za-z0-9.-]+/ip$")) |
  "  server \(.key | split("/")[3]) \(.value):8080 check maxconn 1000")
