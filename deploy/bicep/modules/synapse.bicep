// A Synapse workspace with its Spark pool and, if asked for, a dedicated SQL pool. Sign-in by Entra only.
param location string
param name string
param lakeUrl string
param administratorObjectId string
param administratorName string
param dedicatedPool bool
param tags object

resource workspace 'Microsoft.Synapse/workspaces@2021-06-01' = {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    azureADOnlyAuthentication: true
    defaultDataLakeStorage: {
      accountUrl: lakeUrl
      filesystem: 'lake'
    }
    managedVirtualNetwork: 'default'
    publicNetworkAccess: 'Enabled'
  }
}

resource administrator 'Microsoft.Synapse/workspaces/administrators@2021-06-01' = {
  parent: workspace
  name: 'activeDirectory'
  properties: {
    administratorType: 'ActiveDirectory'
    login: administratorName
    sid: administratorObjectId
    tenantId: tenant().tenantId
  }
}

resource azureServices 'Microsoft.Synapse/workspaces/firewallRules@2021-06-01' = {
  parent: workspace
  name: 'AllowAllWindowsAzureIps'
  properties: {
    startIpAddress: '0.0.0.0'
    endIpAddress: '0.0.0.0'
  }
}

resource spark 'Microsoft.Synapse/workspaces/bigDataPools@2021-06-01' = {
  parent: workspace
  name: 'models'
  location: location
  tags: tags
  properties: {
    sparkVersion: '3.5'
    nodeSizeFamily: 'MemoryOptimized'
    nodeSize: 'Medium'
    autoScale: {
      enabled: true
      minNodeCount: 3
      maxNodeCount: 14
    }
    autoPause: {
      enabled: true
      delayInMinutes: 15
    }
  }
}

resource pool 'Microsoft.Synapse/workspaces/sqlPools@2021-06-01' = if (dedicatedPool) {
  parent: workspace
  name: 'forecasts'
  location: location
  tags: tags
  sku: {
    name: 'DW100c'
  }
  properties: {
    createMode: 'Default'
  }
}

output id string = workspace.id
output name string = workspace.name
output server string = '${workspace.name}.sql.azuresynapse.net'
output serverless string = '${workspace.name}-ondemand.sql.azuresynapse.net'
output principalId string = workspace.identity.principalId
