-- What Power BI reads: five views over the tables that `manymodels load` writes for the spec retail_sales, in the
-- schema retail of a Synapse dedicated pool. Another spec: replace retail_sales_, and store and item by its
-- partition_by. On the serverless endpoint leave out the last view: nothing is loaded there, so there is no ledger.
CREATE VIEW [retail].[forecast] AS
SELECT
    p.[partition_id], p.[store], p.[item], p.[cutoff], p.[date], p.[prediction],
    p.[lower_80], p.[upper_80], p.[lower_95], p.[upper_95],
    p.[family], p.[fallback], p.[data_version], p.[scored_at]
FROM [retail].[retail_sales_predictions] AS p
INNER JOIN (
    SELECT [partition_id], MAX([cutoff]) AS [cutoff]
    FROM [retail].[retail_sales_predictions]
    GROUP BY [partition_id]
) AS newest ON newest.[partition_id] = p.[partition_id] AND newest.[cutoff] = p.[cutoff];
GO

CREATE VIEW [retail].[forecast_history] AS
SELECT
    p.[partition_id], p.[store], p.[item], p.[cutoff], p.[date], p.[prediction], p.[family], p.[fallback],
    DATEDIFF(DAY, p.[cutoff], p.[date]) AS [days_ahead]
FROM [retail].[retail_sales_predictions] AS p;
GO

CREATE VIEW [retail].[partition_state] AS
SELECT
    p.[partition_id], p.[store], p.[item],
    CASE
        WHEN q.[partition_id] IS NOT NULL THEN 'quarantined'
        WHEN c.[partition_id] IS NULL THEN 'no champion'
        ELSE 'in production'
    END AS [state],
    c.[family], c.[promoted_at], q.[reason], q.[message], q.[advice]
FROM [retail].[retail_sales_partitions] AS p
LEFT JOIN [retail].[retail_sales_champions] AS c ON c.[partition_id] = p.[partition_id]
LEFT JOIN [retail].[retail_sales_quarantine] AS q ON q.[partition_id] = p.[partition_id];
GO

CREATE VIEW [retail].[families] AS
SELECT [family], COUNT_BIG(*) AS [partitions], MAX([promoted_at]) AS [newest]
FROM [retail].[retail_sales_champions]
GROUP BY [family];
GO

CREATE VIEW [retail].[loads] AS
SELECT [spec], [table], [version], [rows], [loaded_at], [run_id]
FROM [retail].[manymodels_loads];
GO
