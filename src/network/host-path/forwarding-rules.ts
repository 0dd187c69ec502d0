import { readFileSync, writeFileSync } from 'node:fs'
import { exec } from '../../base/index.ts'

/** Begin of the names of a node's legs. */
export const legPrefix = 'cbh'

/**
 * What the node lets through between its legs and the rest, as nftables takes it. Beside what Services translate nothing
 * goes from VLAN to VLAN or to the node, and nobody uses the node as a router. Whoever is answered through the node sees
 * an address of the node that it can answer: replies take the way back through the node that translated.
 * `reachable`: CIDRs that pods may reach through their node beside Services.
 */
function forwardingRules(reachable: string[]): string {
  const legs = `"${legPrefix}*"`
  const toReachable = reachable.length === 0 ? [] : [`    iifname ${legs} ip daddr { ${reachable.join(', ')} } accept`]
  return [
    'table ip carbonado {}',
    'delete table ip carbonado',
    'table ip carbonado {',
    '  chain forward {',
    '    type filter hook forward priority filter; policy accept;',
    `    iifname != ${legs} oifname != ${legs} accept`,
    '    ct state established,related accept',
    '    ct status dnat accept',
    ...toReachable,
    '    drop',
    '  }',
    '  chain input {',
    '    type filter hook input priority filter; policy accept;',
    `    iifname != ${legs} accept`,
    '    ct state established,related accept',
    '    ct status dnat accept',
    '    icmp type echo-request accept',
    ...toReachable,
    '    drop',
    '  }',
    '  chain output {',
    '    type filter hook output priority filter; policy accept;',
    // a pod that was told a shorter way to the other end of a Service would go around the translation
    `    oifname ${legs} icmp type redirect drop`,
    '  }',
    '  chain postrouting {',
    '    type nat hook postrouting priority srcnat; policy accept;',
    `    oifname ${legs} masquerade`,
    `    iifname ${legs} masquerade`,
    '  }',
    '}',
    '',
  ].join('\n')
}

/** Makes the rules what they should be, in one step, and lets the node forward. Throws ExecError. */
export async function applyForwardingRules(reachable: string[]): Promise<void> {
  const forwarding = '/proc/sys/net/ipv4/ip_forward'
  if (readFileSync(forwarding, 'utf8').trim() !== '1') writeFileSync(forwarding, '1')
  await exec(['nft', '-f', '-'], { input: forwardingRules(reachable) })
}
