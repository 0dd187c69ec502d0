import { spawn, type ChildProcess } from 'node:child_process'
import { Unavailable } from '../../../base/index.ts'

/**
 * Freezes what its descriptors from 3 on are open at, says so, and thaws all of it when a line comes, when its input ends
 * (the agent is dead) or when it is told to end. It says `late` when it was not a line that ended it. A freeze that was
 * under way when the signal came has happened, so that it is thawed, too.
 */
const script = `
first=3; last=$1; next=3; outcome=late
thaw() { while [ "$next" -gt "$first" ]; do next=$((next - 1)); fsfreeze --unfreeze "/proc/self/fd/$next"; done; echo "$outcome"; }
trap thaw EXIT
trap '' PIPE # nobody may be there to read what it says
trap 'exit 1' TERM INT HUP
while [ "$next" -le "$last" ]; do
  next=$((next + 1))
  fsfreeze --freeze "/proc/self/fd/$((next - 1))" || { [ $? -gt 128 ] || next=$((next - 1)); exit 1; }
done
echo frozen
read -r line && outcome=held
`

/** Filesystems that stand still. */
export interface FrozenFilesystems {
  /** Lets them go on; false when that had happened before. */
  thaw(): Promise<boolean>
}

/**
 * Freezes filesystems, given as descriptors that are open somewhere in them, through a process of its own. They go on at the
 * latest after `limit` milliseconds, and when this process ends, however it does. Throws Unavailable when one of them cannot
 * be frozen (all go on then) or the limit has passed before.
 */
export async function freeze(descriptors: number[], limit: number): Promise<FrozenFilesystems> {
  const last = String(2 + descriptors.length)
  const watchdog = spawn('timeout', [String(limit / 1000), 'sh', '-c', script, 'freeze-watchdog', last], {
    stdio: ['pipe', 'pipe', 'pipe', ...descriptors],
    detached: true, // so that what ends the agent's process group does not end it
    env: { ...process.env, LC_ALL: 'C' },
  })
  const said = listen(watchdog)
  const outcome = await Promise.race([said.frozen, said.end.then(() => 'ended' as const)])
  if (outcome === 'ended') {
    throw new Unavailable(`a filesystem could not be frozen within ${limit / 1000} s${said.complaints()}`, {
      remedy: 'Try again when less is written, or take the snapshot without quiesce.',
    })
  }
  return {
    async thaw() {
      watchdog.stdin!.write('thaw\n')
      await said.end
      return said.text().includes('held')
    },
  }
}

interface Said {
  frozen: Promise<'frozen'>
  end: Promise<void>
  text: () => string
  complaints: () => string
}

function listen(watchdog: ChildProcess): Said {
  let [text, complaints] = ['', '']
  const end = new Promise<void>((resolve) => {
    watchdog.on('error', (error) => {
      complaints += error.message
      resolve()
    })
    watchdog.on('close', () => resolve())
  })
  watchdog.stdin?.on('error', () => {}) // it has ended; its end tells
  const frozen = new Promise<'frozen'>((resolve) => {
    watchdog.stdout?.on('data', (part: Buffer) => {
      text += part.toString()
      if (text.includes('frozen')) resolve('frozen')
    })
  })
  watchdog.stderr?.on('data', (part: Buffer) => (complaints += part.toString()))
  return { frozen, end, text: () => text, complaints: () => (complaints === '' ? '' : `: ${complaints.trim()}`) }
}
