export * from './cgroup-io.ts'
export * from './find-cgroup-io.ts'
export * from './iops-guarantee.ts'
export * from './release-watch.ts'
