import { expect, it } from 'vitest'
import { exec } from '../../src/base/index.ts'

const file = `${import.meta.dirname}/../../lab/kubernetes/sysctls.ts`
const rounds = 4

/** Three labs in a namespace whose /run and /proc/sys are its own; prints the settings after each round. */
const script = `
mount -t tmpfs none /run
mount -t tmpfs none /proc/sys
ip link set lo up
cd /proc/sys
mkdir -p fs/inotify vm kernel/keys
settings='fs/inotify/max_user_instances vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes'
processes=
all_labs() {
  for lab in a b c; do
    CARBONADO_LAB=$lab node --input-type=module -e "import * as sysctls from '${file}'; await sysctls.$1()" & processes="$processes $!"
  done
  for process in $processes; do wait $process; done
  processes=
}
for setting in $settings; do echo 128 > $setting; done
for round in $(seq ${rounds}); do
  all_labs rememberSysctls
  echo $(cat fs/inotify/max_user_instances)
  for setting in $settings; do echo 7 > $setting; done
  all_labs restoreSysctls
  echo $(for setting in $settings; do echo $(cat $setting); done)
done`

it('labs with Kubernetes that go up and down at the same moment leave the settings of the machine as they were', async () => {
  const { stdout } = await exec(['unshare', '--mount', '--net', 'sh', '-euc', script], { deadline: 60_000 })
  expect(stdout.trim().split('\n')).toEqual(
    Array.from({ length: rounds }).flatMap(() => ['1024', '128 128 128 128 128 128 128']),
  )
})
