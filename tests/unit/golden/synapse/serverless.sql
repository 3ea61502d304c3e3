CREATE EXTERNAL DATA SOURCE [manymodels_account_lake] WITH (LOCATION = 'https://account.dfs.core.windows.net/lake', CREDENTIAL = [manymodels_workspace]);
GO
CREATE OR ALTER VIEW [dbo].[p] AS
SELECT [partition_id], [cutoff], [prediction], [price]
FROM OPENROWSET(BULK '/retail/predictions/', DATA_SOURCE = 'manymodels_account_lake', FORMAT = 'DELTA') WITH (
    [partition_id] varchar(max) COLLATE Latin1_General_100_BIN2_UTF8,
    [cutoff] datetime2(6),
    [prediction] float(53),
    [price] decimal(9, 2)
) AS lake
