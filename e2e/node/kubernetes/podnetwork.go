package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	cniFile      = "/etc/cni/net.d/10-kindnet.conflist"
	networkEvery = 2 * time.Second
)

// podNetwork does what kind's kindnetd does for plain IPv4: gives the container runtime this node's pod network, and keeps a route to the pod
// network of every other node. It never returns but for an error at the start.
func podNetwork() error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	if endpoint := os.Getenv("CONTROL_PLANE_ENDPOINT"); endpoint != "" {
		config.Host = "https://" + endpoint
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for self := os.Getenv("HOST_IP"); ; time.Sleep(networkEvery) {
		nodes, err := client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		for i := range nodes.Items {
			if err := reach(&nodes.Items[i], self); err != nil {
				fmt.Fprintln(os.Stderr, nodes.Items[i].Name, err)
			}
		}
	}
}

func reach(node *v1.Node, self string) error {
	address := internalAddress(node)
	_, pods, err := net.ParseCIDR(node.Spec.PodCIDR)
	switch {
	case node.Spec.PodCIDR == "" || address == "":
		return nil // not admitted yet
	case err != nil:
		return err
	case address == self:
		return writeNetwork(pods.String())
	default:
		return netlink.RouteReplace(&netlink.Route{Dst: pods, Gw: net.ParseIP(address)})
	}
}

func internalAddress(node *v1.Node) string {
	for _, address := range node.Status.Addresses {
		if address.Type == v1.NodeInternalIP {
			return address.Address
		}
	}
	return ""
}

// writeNetwork writes the CNI configuration once; it appears whole or not at all.
func writeNetwork(subnet string) error {
	if _, err := os.Stat(cniFile); err == nil {
		return nil
	}
	type object = map[string]any
	text, err := json.Marshal(object{
		"cniVersion": "0.4.0",
		"name":       "kindnet",
		"plugins": []object{
			{"type": "ptp", "mtu": 1500, "ipMasq": false, "ipam": object{
				"type":    "host-local",
				"dataDir": "/run/cni-ipam-state",
				"routes":  []object{{"dst": "0.0.0.0/0"}},
				"ranges":  [][]object{{{"subnet": subnet}}},
			}},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	})
	if err != nil {
		return err
	}
	part := cniFile + ".part" // a name that the runtime does not read
	if err := os.WriteFile(part, text, 0o644); err != nil {
		return err
	}
	return os.Rename(part, cniFile)
}
