"""Versions of everything the harness fetches. Changing one makes new cache entries; the old ones can be deleted at any time."""

KUBERNETES = "1.34.2"
KIND = "0.30.0"
COREDNS = "1.12.4"
LOCAL_PATH_PROVISIONER = "0.0.30"
HELM = "3.22.0"
KUBECONFORM = "0.8.0"
PROMETHEUS_OPERATOR = "0.85.0"
DEBIAN = "bookworm"

# The node image that kind 0.30 was released with; used where a registry answers.
NODE_IMAGE = f"kindest/node:v{KUBERNETES}"

# What e2e/bench measures beside this server and the mixed level runs with it, and what fetches it.
ZOOKEEPER = "3.9.5"
MAVEN_DEPENDENCY_PLUGIN = "3.8.1"
