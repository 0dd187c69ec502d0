import '../../storage/record-appender.ts'
