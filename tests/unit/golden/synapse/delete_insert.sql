SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA WHERE SCHEMA_NAME = N'dbo';
GO
SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS
WHERE TABLE_SCHEMA = N'dbo' AND TABLE_NAME = N'manymodels_loads'
ORDER BY ORDINAL_POSITION;
GO
SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS
WHERE TABLE_SCHEMA = N'dbo' AND TABLE_NAME = N'manymodels_pending'
ORDER BY ORDINAL_POSITION;
GO
SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS
WHERE TABLE_SCHEMA = N'dbo' AND TABLE_NAME = N'manymodels_locks'
ORDER BY ORDINAL_POSITION;
GO
SELECT [spec], [table], [source], [version], [rows], [checksum], [run_id], [way], [token], [total] FROM [dbo].[manymodels_pending]
WHERE [table] = N'p';
GO
SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS
WHERE TABLE_SCHEMA = N'dbo' AND TABLE_NAME = N'p'
ORDER BY ORDINAL_POSITION;
GO
SELECT TOP (1) [spec], [table], [source], [version], [rows], [checksum], [loaded_at], [run_id] FROM [dbo].[manymodels_loads]
WHERE [spec] = N'retail' AND [table] = N'p'
ORDER BY [loaded_at] DESC, [version] DESC;
GO
SELECT TOP (1) [spec], [table], [source], [version], [rows], [checksum], [loaded_at], [run_id] FROM [dbo].[manymodels_loads]
WHERE [spec] = N'retail' AND [table] = N'p'
ORDER BY [loaded_at] DESC, [version] DESC;
GO
SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS
WHERE TABLE_SCHEMA = N'dbo' AND TABLE_NAME = N'p'
ORDER BY ORDINAL_POSITION;
GO
SELECT DISTINCT [spec] FROM [dbo].[manymodels_loads]
WHERE [table] = N'p' AND [spec] <> N'retail';
GO
CREATE TABLE [dbo].[p__rows_2026112400000001] (
    [partition_id] nvarchar(4000) NULL,
    [cutoff] datetime2(6) NULL,
    [prediction] float(53) NULL
)
WITH (DISTRIBUTION = HASH([partition_id]), HEAP);
GO
COPY INTO [dbo].[p__rows_2026112400000001] ([partition_id], [cutoff], [prediction])
FROM 'https://account.dfs.core.windows.net/lake/v1/rows/*.parquet'
WITH (FILE_TYPE = 'PARQUET', CREDENTIAL = (IDENTITY = 'Managed Identity'));
GO
CREATE TABLE [dbo].[p__keys_2026112400000001] (
    [partition_id] nvarchar(4000) NULL,
    [cutoff] datetime2(6) NULL
)
WITH (DISTRIBUTION = HASH([partition_id]), HEAP);
GO
COPY INTO [dbo].[p__keys_2026112400000001] ([partition_id], [cutoff])
FROM 'https://account.dfs.core.windows.net/lake/v1/keys/*.parquet'
WITH (FILE_TYPE = 'PARQUET', CREDENTIAL = (IDENTITY = 'Managed Identity'));
GO
SELECT COUNT_BIG(*), SUM(d0), SUM(d1), SUM(d2), SUM((mixed * mixed) % 2147483647)
FROM (
  SELECT d0, d1, d2, (1 * d0 + 3 * d1 + 5 * d2) % 2147483647 AS mixed
  FROM (
    SELECT COALESCE(CONVERT(BIGINT, CONVERT(BINARY(4), SUBSTRING(HASHBYTES('MD5', [partition_id]), 1, 4))) % 2147483647, 1046527) AS d0,
    COALESCE(CONVERT(BIGINT, DATEDIFF(DAY, '1970-01-01', [cutoff])) * 86400000000 + CONVERT(BIGINT, DATEDIFF(SECOND, CONVERT(DATE, [cutoff]), [cutoff])) * 1000000 + DATEPART(MICROSECOND, [cutoff]) % 2147483647, 1046527) AS d1,
    COALESCE(CONVERT(BIGINT, CONVERT(BINARY(8), CONVERT(FLOAT(53), [prediction]))) % 2147483647, 1046527) AS d2
    FROM (SELECT CAST([partition_id] AS nvarchar(4000)) AS [partition_id], CAST([cutoff] AS datetime2(6)) AS [cutoff], CAST([prediction] AS float(53)) AS [prediction] FROM [dbo].[p__rows_2026112400000001]) AS typed
  ) AS cells
) AS rows_mixed;
GO
SELECT COUNT_BIG(*) FROM [dbo].[manymodels_locks] WHERE [table] = N'p';
GO
BEGIN TRANSACTION;
GO
UPDATE [dbo].[manymodels_locks] SET [run_id] = N'run-1' WHERE [table] = N'p';
GO
SELECT TOP (1) [spec], [table], [source], [version], [rows], [checksum], [loaded_at], [run_id] FROM [dbo].[manymodels_loads]
WHERE [spec] = N'retail' AND [table] = N'p'
ORDER BY [loaded_at] DESC, [version] DESC;
GO
DELETE FROM [dbo].[p]
WHERE EXISTS (
    SELECT 1 FROM [dbo].[p__keys_2026112400000001] AS k
    WHERE k.[partition_id] = [p].[partition_id] AND k.[partition_id] COLLATE Latin1_General_100_BIN2 = [p].[partition_id] COLLATE Latin1_General_100_BIN2
      AND (k.[cutoff] = [p].[cutoff] OR (k.[cutoff] IS NULL AND [p].[cutoff] IS NULL))
);
GO
INSERT INTO [dbo].[p] ([partition_id], [cutoff], [prediction])
SELECT [partition_id], [cutoff], [prediction] FROM [dbo].[p__rows_2026112400000001];
GO
SELECT COUNT_BIG(*), SUM(d0), SUM(d1), SUM(d2), SUM((mixed * mixed) % 2147483647)
FROM (
  SELECT d0, d1, d2, (1 * d0 + 3 * d1 + 5 * d2) % 2147483647 AS mixed
  FROM (
    SELECT COALESCE(CONVERT(BIGINT, CONVERT(BINARY(4), SUBSTRING(HASHBYTES('MD5', [partition_id]), 1, 4))) % 2147483647, 1046527) AS d0,
    COALESCE(CONVERT(BIGINT, DATEDIFF(DAY, '1970-01-01', [cutoff])) * 86400000000 + CONVERT(BIGINT, DATEDIFF(SECOND, CONVERT(DATE, [cutoff]), [cutoff])) * 1000000 + DATEPART(MICROSECOND, [cutoff]) % 2147483647, 1046527) AS d1,
    COALESCE(CONVERT(BIGINT, CONVERT(BINARY(8), CONVERT(FLOAT(53), [prediction]))) % 2147483647, 1046527) AS d2
    FROM (SELECT CAST([partition_id] AS nvarchar(4000)) AS [partition_id], CAST([cutoff] AS datetime2(6)) AS [cutoff], CAST([prediction] AS float(53)) AS [prediction] FROM [dbo].[p]
WHERE EXISTS (
    SELECT 1 FROM [dbo].[p__keys_2026112400000001] AS k
    WHERE k.[partition_id] = [p].[partition_id] AND k.[partition_id] COLLATE Latin1_General_100_BIN2 = [p].[partition_id] COLLATE Latin1_General_100_BIN2
      AND (k.[cutoff] = [p].[cutoff] OR (k.[cutoff] IS NULL AND [p].[cutoff] IS NULL))
)) AS typed
  ) AS cells
) AS rows_mixed;
GO
INSERT INTO [dbo].[manymodels_loads] ([spec], [table], [source], [version], [rows], [checksum], [loaded_at], [run_id])
SELECT N'retail', N'p', N'lake-1', 1, 1, N'55b009715acbd70def99a75e06cd6e38', SYSUTCDATETIME(), N'run-1';
GO
COMMIT TRANSACTION;
GO
SELECT [spec], [table], [source], [version], [rows], [checksum], [run_id], [way], [token], [total] FROM [dbo].[manymodels_pending]
WHERE [table] = N'p';
GO
SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES
WHERE TABLE_SCHEMA = N'dbo' AND TABLE_NAME LIKE N'p~_~_%' ESCAPE '~';
GO
DROP TABLE [dbo].[p__keys_2026112400000001];
GO
DROP TABLE [dbo].[p__rows_2026112400000001];
GO
