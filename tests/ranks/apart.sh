#!/bin/sh
# apart.sh LINK PROGRAM ARGUMENTS...: two ranks of Open MPI, each in a network namespace and with a
# host name of its own, joined by a link with 2 ms of delay and 1 % of loss (link.c). Needs root.
link=$1
shift
a=fma$$ b=fmb$$ folder=$(mktemp -d)
agent=$folder/agent
trap 'kill $carrier 2>/dev/null; ip netns del $a; ip netns del $b; rm -rf "$folder" /etc/netns/$a /etc/netns/$b' EXIT
trap 'exit 1' HUP INT TERM
ip netns add $a && ip netns add $b || exit 1
"$link" $a $b 2 1 > "$folder/link" &
carrier=$!
k=0
until grep -q ready "$folder/link" || test $k -gt 50; do sleep 0.1; k=$((k + 1)); done
n=0
for space in $a $b; do
  n=$((n + 1))
  ip -n $space link set lo up
  ip -n $space address add 10.77.0.$n/24 dev bad0
  ip -n $space link set bad0 up
done
# mpirun starts its daemon on the other "machine" by this script, in place of ssh.
cat > "$agent" <<EOF
#!/bin/sh
shift
exec ip netns exec $b unshare --uts sh -c 'hostname $b; exec sh -c "\$0"' "\$*"
EOF
chmod +x "$agent"
ip netns exec $a unshare --uts sh -c 'hostname "$0"; exec "$@"' $a \
  mpirun.openmpi --allow-run-as-root -n 2 --host 10.77.0.1:1,10.77.0.2:1 \
  --mca plm_rsh_agent "$agent" --mca oob_tcp_if_include bad0 --mca btl tcp,self \
  --mca btl_tcp_if_include bad0 --mca pml ob1 "$@"
code=$?
echo "bytes over the link: $(ip -n $a -s link show bad0 | awk '/RX:/ { getline; print $1 }')"
exit $code
